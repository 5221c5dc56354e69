"""TensorFlow's V1 checkpoints: a single file that is a table with the numbers in it.

Source: tensorflow/core/util/saved_tensor_slice.proto and
tensorflow/core/framework/tensor.proto. The empty key has the list of all tensors with
their slices; each other key has the numbers of a slice.
"""

import functools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import proto, sstable, tf_slices
from jaxseg.pretrained.readers.entries import (
    LONGEST_NAME,
    MOST_ENTRIES,
    Checkpoint,
    Entry,
    Malformed,
    quoted,
    reading,
    shown,
)

_WHAT = "a whole TensorFlow V1 checkpoint"
# Numbers may be stored shorter than they are; more than this is no checkpoint.
_EXPANSION, _SLACK = 1, 16 << 20
_LONGEST_LIST = 8 << 20  # bytes; a tensor takes about a hundred
_MOST_SINGLES = 1 << 16  # numbers that are not packed, which is slow and rare
_CONTENT = 4
# The fields of a TensorProto with the numbers of a type; the others are varints.
_FIELDS = {"f4": 5, "f8": 6, "i8": 10, "b1": 11, "f2": 13, "V2": 13, "u4": 16, "u8": 17}
_SMALL_INTEGERS = 7


class _Listed(NamedTuple):
    """Hold a SavedSliceMeta."""

    name: str
    kind: int
    shape: tuple[int, ...]
    slices: tuple[bytes, ...]


def matches(path: str | os.PathLike) -> bool:
    """Return whether a file is a table, or starts as the list of a V1 checkpoint."""
    path = Path(path)
    if path.suffix == ".index" or not path.is_file():
        return False
    return sstable.ends_as_table(path) or _starts_with_list(path)


def open(path: str | os.PathLike) -> Checkpoint:
    """Return the tensors of a checkpoint, in the order in which the file has them.

    Raises:
      UserError: the file is missing or damaged, or is another kind of table.
    """
    path = Path(path)
    with reading(path, _WHAT):
        table = sstable.Table(path)
        listed = _list(table)
        listed.sort(key=lambda one: tf_slices.key(one.name, ()))
        left = _EXPANSION * table.size + _SLACK
        entries = {}
        for one in listed:
            shape, dtype = tf_slices.sized(one.shape, one.kind, left)
            left -= 0 if dtype.hasobject else math.prod(shape) * dtype.itemsize
            if one.name in entries:
                raise Malformed(f"{quoted(one.name)} stands in the list twice")
            read = functools.partial(_read, table, one, dtype)
            entries[one.name] = Entry(shape, dtype, read)
    return Checkpoint("TensorFlow V1", path, entries)


def _starts_with_list(path: Path) -> bool:
    """Return whether the first record has the empty key and a list of tensors."""
    with path.open("rb") as file:
        head = memoryview(file.read(16))
    if head[:2] != b"\0\0":
        return False
    try:
        _, at = proto.varint(head, 2)
    except Malformed:
        return False
    return head[at : at + 1] == b"\n"


def _list(table: sstable.Table) -> list[_Listed]:
    """Return what the value of the empty key lists."""
    value = table.get(b"")
    if value is None:
        raise Malformed("the table has no list of tensors")
    if len(value) > _LONGEST_LIST:
        raise Malformed(f"a list of tensors of {len(value)} bytes")
    listed, slices = [], 0
    for number, wire, meta in proto.fields(value):
        if number != 1:
            raise Malformed(f"the table has field {number} where its list should be")
        for inner, kind, one in proto.fields(proto.message(wire, meta)):
            if inner != 1:
                continue
            listed.append(_listed(proto.message(kind, one)))
            slices += len(listed[-1].slices)
            if max(len(listed), slices) > MOST_ENTRIES:
                raise Malformed(f"more than {MOST_ENTRIES} tensors or slices")
    return listed


def _listed(message: memoryview) -> _Listed:
    name, kind, shape, slices = "", 0, (), []
    for number, wire, value in proto.fields(message):
        if number == 1:
            if len(proto.message(wire, value)) > LONGEST_NAME:
                raise Malformed(f"a name of {len(value)} bytes")
            name = proto.text(wire, value)
        elif number == 2:
            shape = tf_slices.shape(proto.message(wire, value))
        elif number == 3:
            kind = proto.number(wire, value)
        elif number == 4:
            slices.append(bytes(proto.message(wire, value)))
            if len(slices) > MOST_ENTRIES:
                raise Malformed(f"more than {MOST_ENTRIES} slices")
    return _Listed(name, kind, shape, tuple(slices))


def _read(table: sstable.Table, one: _Listed, dtype: np.dtype) -> np.ndarray:
    if dtype.hasobject:
        held = "strings" if one.kind == tf_slices.STRING else f"type {one.kind}"
        raise UserError(
            f"{shown(table.path)}: {quoted(one.name)} holds {held}; expected numbers; "
            "leave it out"
        )

    def read(extents: Sequence[tf_slices.Extent], shape: tuple[int, ...]):
        value = table.get(tf_slices.key(one.name, extents))
        if value is None:
            raise Malformed(f"{quoted(one.name)} lacks its slice of {list(shape)}")
        try:
            data = _tensor(value, one.name)
            return _numbers(data, dtype, math.prod(shape)).reshape(shape)
        except Malformed as error:
            raise Malformed(f"{quoted(one.name)}: {error}") from error

    with reading(table.path, _WHAT):
        return tf_slices.join(one.shape, dtype, one.slices, read)


def _tensor(value: memoryview, name: str) -> memoryview:
    """Return the TensorProto of a SavedTensorSlices."""
    tensor = None
    for number, wire, saved in proto.fields(value):
        if number != 2:
            continue
        for inner, kind, field in proto.fields(proto.message(wire, saved)):
            if inner == 1 and proto.message(kind, field) != name.encode():
                raise Malformed("its key leads to another tensor")
            if inner == 3:
                tensor = proto.message(kind, field)
    if tensor is None:
        raise Malformed("its key leads to no numbers")
    return tensor


def _numbers(tensor: memoryview, dtype: np.dtype, count: int) -> np.ndarray:
    """Return the numbers [count] of a TensorProto; a short list repeats its end."""
    stored = _stored(tensor, dtype, count)
    if count and not len(stored):
        raise Malformed(f"it has none of its {count} numbers")
    if len(stored) > count:
        raise Malformed(f"it has more than its {count} numbers")
    out = np.empty(count, dtype)
    out[: len(stored)] = stored
    out[len(stored) :] = stored[-1:]
    return out


def _stored(tensor: memoryview, dtype: np.dtype, most: int) -> np.ndarray:
    """Return the numbers [n] that a TensorProto has, at most so many."""
    wanted = _FIELDS.get(dtype.str[1:], _SMALL_INTEGERS)
    found, singles = np.empty(0, dtype), []
    for number, wire, value in proto.fields(tensor):
        if number == _CONTENT:
            content = np.frombuffer(proto.message(wire, value), np.uint8)
            if len(content) != most * dtype.itemsize:
                raise Malformed(f"{len(content)} bytes for {most} numbers")
            # Any byte but 0 and 1 would make a boolean that equals neither.
            found = content != 0 if dtype.kind == "b" else content.view(dtype)
        elif number == wanted and wire == proto.BYTES:
            if len(found):
                raise Malformed("its numbers are in more than one piece")
            found = _packed(value, dtype, most)
        elif number == wanted:
            singles.append(value)
            if len(singles) > _MOST_SINGLES:
                raise Malformed("its numbers are not packed")
    if singles:
        return np.array(singles, np.uint64).astype(_bits(dtype)).view(dtype)
    return found


def _packed(value: memoryview, dtype: np.dtype, most: int) -> np.ndarray:
    """Return the numbers [n] of one occurrence of their field."""
    if dtype.str in ("<f4", "<f8"):
        return proto.floats(proto.BYTES, value, dtype.str)
    return proto.numbers(value, _bits(dtype), most).view(dtype)


def _bits(dtype: np.dtype) -> np.dtype:
    """Return the type of the integers that stand for numbers: of their bits."""
    return dtype if dtype.kind in "iub" else np.dtype(f"<u{dtype.itemsize}")
