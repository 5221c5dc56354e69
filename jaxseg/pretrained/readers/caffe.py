"""Caffe's .caffemodel: a NetParameter in the wire format of protocol buffers.

Source: src/caffe/proto/caffe.proto of BVLC/caffe: its LayerParameter, the older
V1LayerParameter and BlobProto.
"""

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxseg.pretrained.readers import mapping, proto
from jaxseg.pretrained.readers.entries import (
    LONGEST_NAME,
    MOST_ENTRIES,
    Checkpoint,
    Entry,
    Malformed,
    checked_shape,
    quoted,
    reading,
)

_WHAT = "a whole .caffemodel file"


class _Fields(NamedTuple):
    """Hold the numbers of a layer's fields."""

    name: int
    blobs: int


# By their number in NetParameter.
_LAYERS = {100: _Fields(name=1, blobs=7), 2: _Fields(name=4, blobs=6)}
# Those a net begins with: name, layers, input, state, layer.
_FIRST = (b"\x0a", b"\x12", b"\x1a", b"\x32", b"\xa2\x06")
_SHAPE, _OLD_SHAPE = 7, (1, 2, 3, 4)  # the latter is number, channels, height, width
_DATA = {5: "<f4", 8: "<f8"}


class _Blob(NamedTuple):
    shape: tuple[int, ...]
    field: int  # that has the numbers
    count: int


def matches(data: memoryview) -> bool:
    """Return whether a file begins as a net and has a layer with a name.

    There is no magic number, so this goes through the fields of the file.
    """
    if not bytes(data[:2]).startswith(_FIRST):
        return False
    try:
        return any(_name(layer, fields) for layer, fields in _layers(data))
    except Malformed:
        return False


def open(path: str | os.PathLike) -> Checkpoint:
    """Return the blobs of a net as "LAYER/0", "LAYER/1" by their order in the layer.

    Convolutions have their weights at 0 and their bias at 1. Layers without blobs are
    passed over. The arrays are views of the file.

    Raises:
      UserError: it is damaged, or two layers with blobs have the same name.
    """
    with reading(path, _WHAT):
        entries = {}
        for layer, fields in _layers(mapping.mapped(path)):
            name = _name(layer, fields)
            for position, message in enumerate(_blobs(layer, fields)):
                _add(entries, f"{name}/{position}", message, path)
        if not entries:
            raise Malformed("no layer has weights, as in a .prototxt or .solverstate")
    return Checkpoint("Caffe", Path(path), entries)


def _add(
    entries: dict[str, Entry], name: str, message: memoryview, path: str | os.PathLike
) -> None:
    if name in entries:
        raise Malformed(f"two layers have the blob {quoted(name)}")
    if len(entries) >= MOST_ENTRIES:
        raise Malformed(f"it has more than {MOST_ENTRIES} blobs")
    try:
        blob = _blob(message)
    except Malformed as error:
        raise Malformed(f"{quoted(name)}: {error}") from error
    dtype = np.dtype(_DATA[blob.field]).newbyteorder("=")
    read = functools.partial(_read, message, blob, path)
    entries[name] = Entry(blob.shape, dtype, read)


def _layers(data: memoryview) -> Iterator[tuple[memoryview, _Fields]]:
    for number, wire, value in proto.fields(data):
        if number in _LAYERS:
            yield proto.message(wire, value), _LAYERS[number]


def _name(layer: memoryview, fields: _Fields) -> str:
    name = ""
    for number, wire, value in proto.fields(layer):
        if number == fields.name:
            if len(proto.message(wire, value)) > LONGEST_NAME:
                raise Malformed(f"a layer has a name of {len(value)} bytes")
            name = proto.text(wire, value)
    return name


def _blobs(layer: memoryview, fields: _Fields) -> Iterator[memoryview]:
    for number, wire, value in proto.fields(layer):
        if number == fields.blobs:
            yield proto.message(wire, value)


def _blob(message: memoryview) -> _Blob:
    """Return the shape of a blob, checked against the numbers that are there."""
    shape, old, counts = None, {}, dict.fromkeys(_DATA, 0)
    for number, wire, value in proto.fields(message):
        if number == _SHAPE:
            shape = _dimensions(proto.message(wire, value))
        elif number in _OLD_SHAPE:
            old[number] = proto.signed(proto.number(wire, value), 32)
        elif number in _DATA:
            counts[number] += len(proto.floats(wire, value, _DATA[number]))
    if shape is None:
        shape = [old.get(number, 0) for number in _OLD_SHAPE]
    field = 8 if counts[8] else 5
    itemsize = np.dtype(_DATA[field]).itemsize
    shape = checked_shape(shape, itemsize, counts[field] * itemsize)
    if math.prod(shape) != counts[field]:
        raise Malformed(f"it has {counts[field]} numbers for {list(shape)}")
    return _Blob(shape, field, counts[field])


def _dimensions(message: memoryview) -> list[int]:
    found = []
    for number, wire, value in proto.fields(message):
        if number == 1:
            if len(found) > 64 or (wire == proto.BYTES and len(value) > 512):
                raise Malformed("it has far too many dimensions")
            found += proto.integers(wire, value)
    return found


def _read(message: memoryview, blob: _Blob, path: str | os.PathLike) -> np.ndarray:
    with reading(path, _WHAT):
        dtype, whole, done = _DATA[blob.field], None, 0
        for number, wire, value in proto.fields(message):
            if number != blob.field:
                continue
            piece = proto.floats(wire, value, dtype)
            if len(piece) == blob.count:
                whole, done = piece, blob.count
                break
            # Not packed, which is one field for each number.
            whole = np.empty(blob.count, dtype) if whole is None else whole
            whole[done : done + len(piece)] = piece
            done += len(piece)
        whole = np.empty(0, dtype) if whole is None else whole
        return whole.astype(whole.dtype.newbyteorder("="), copy=False).reshape(
            blob.shape
        )
