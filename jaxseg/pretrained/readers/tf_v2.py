"""TensorFlow's V2 checkpoints: PREFIX.index and PREFIX.data-00000-of-00001.

Source: tensorflow/core/protobuf/tensor_bundle.proto and
tensorflow/core/util/tensor_bundle. The index is a table from names to a type, a shape
and a place; the data files are the bare numbers. A variable stored in parts has an
entry without a place, and one more for each slice.
"""

import functools
import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import crc32c, proto, sstable, tf_slices
from jaxseg.pretrained.readers.entries import (
    LONGEST_NAME,
    MOST_ENTRIES,
    Checkpoint,
    Entry,
    Malformed,
    file_size,
    quoted,
    reading,
    shown,
)

_WHAT = "a whole TensorFlow V2 checkpoint"
_PARTS = re.compile(r"(.+)\.(index|data-\d{5}-of-\d{5})", re.DOTALL)
_LARGEST_INDEX = 8 << 20  # bytes; an entry needs about a hundred
_VERSION = 1


class _Place(NamedTuple):
    """Hold a BundleEntryProto."""

    kind: int
    shape: tuple[int, ...]
    shard: int
    offset: int  # bytes
    size: int  # bytes
    checksum: int  # masked
    slices: tuple[bytes, ...]


def matches(path: str | os.PathLike) -> bool:
    """Return whether a path names a V2 checkpoint: its prefix or one of its files."""
    if _PARTS.fullmatch(str(path)):
        return os.path.isfile(path)
    return not os.path.exists(path) and _index(path).is_file()


def open(path: str | os.PathLike) -> Checkpoint:
    """Return the tensors of a checkpoint, given PREFIX or any of its files.

    Raises:
      UserError: a file is missing, damaged or too short for what the index says, or
        the numbers are of a big-endian machine.
    """
    index = _index(path)
    with reading(index, _WHAT):
        if file_size(index) > _LARGEST_INDEX:
            raise Malformed(f"an index of {file_size(index)} bytes")
        shards, places = _parse(sstable.Table(index))
    prefix = index.with_suffix("")
    files, total = {}, 0
    for shard, mine in _by_shard(places).items():
        files[shard] = Path(f"{prefix}.data-{shard:05d}-of-{shards:05d}")
        with reading(files[shard], _WHAT):
            size = file_size(files[shard])
            _check_inside(mine, size)
        total += size
    with reading(index, _WHAT):
        entries = _entries(places, files, total, index)
    return Checkpoint("TensorFlow V2", prefix, entries)


def _index(path: str | os.PathLike) -> Path:
    found = _PARTS.fullmatch(str(path))
    return Path((found[1] if found else str(path)) + ".index")


def _parse(table: sstable.Table) -> tuple[int, dict[bytes, _Place]]:
    """Return the number of data files and all entries by their keys."""
    shards, places, slices = None, {}, 0
    for key, value in table.records():
        if shards is None:
            if key:
                raise Malformed("the index has no header")
            shards = _header(value)
            continue
        place = _place(value)
        if place.shard >= shards:
            raise Malformed(f"{quoted(key)} is in data file {place.shard} of {shards}")
        slices += len(place.slices)
        if slices > MOST_ENTRIES:
            raise Malformed(f"more than {MOST_ENTRIES} slices")
        places[key] = place
    if shards is None:
        raise Malformed("the index has no records")
    return shards, places


def _header(value: memoryview) -> int:
    shards = endianness = consumer = 0
    for number, wire, field in proto.fields(value):
        if number == 1:
            shards = proto.number(wire, field)
        elif number == 2:
            endianness = proto.number(wire, field)
        elif number == 3:
            for inner, kind, one in proto.fields(proto.message(wire, field)):
                consumer = proto.number(kind, one) if inner == 2 else consumer
    if endianness:
        raise Malformed(
            "its numbers are big-endian",
            "read and write it again with TensorFlow on a little-endian machine",
        )
    if consumer > _VERSION:
        raise Malformed(
            f"it needs a reader of version {consumer}, this is {_VERSION}",
            "write it again in the older format",
        )
    if not 0 < shards < 100_000:
        raise Malformed(f"it has {shards} data files")
    return shards


def _place(value: memoryview) -> _Place:
    numbers = {1: 0, 3: 0, 4: 0, 5: 0, 6: 0}
    shape, slices = (), []
    for number, wire, field in proto.fields(value):
        if number in numbers:
            numbers[number] = proto.number(wire, field)
        elif number == 2:
            shape = tf_slices.shape(proto.message(wire, field))
        elif number == 7:
            slices.append(bytes(proto.message(wire, field)))
            if len(slices) > MOST_ENTRIES:
                raise Malformed(f"more than {MOST_ENTRIES} slices")
    kind, shard, offset, size, checksum = numbers.values()
    return _Place(kind, shape, shard, offset, size, checksum, tuple(slices))


def _by_shard(places: dict[bytes, _Place]) -> dict[int, list[tuple[bytes, _Place]]]:
    """Return what has bytes in each data file, in the order of the bytes."""
    shards = {}
    for key, place in places.items():
        if not place.slices:
            shards.setdefault(place.shard, []).append((key, place))
    for mine in shards.values():
        mine.sort(key=lambda item: (item[1].offset, item[1].size))
    return shards


def _check_inside(mine: list[tuple[bytes, _Place]], available: int) -> None:
    """Check that the tensors of one data file lie in it, side by side.

    Tensors that share bytes could make a small checkpoint an endless one.
    """
    end = 0
    for key, place in mine:
        stop = place.offset + place.size
        if stop > available:
            raise Malformed(
                f"it has {available} bytes where {quoted(key)} ends at {stop}"
            )
        if place.size and place.offset < end:
            raise Malformed(f"{quoted(key)} shares its bytes with another tensor")
        end = max(end, stop)


def _entries(
    places: dict[bytes, _Place], files: dict[int, Path], available: int, index: Path
) -> dict[str, Entry]:
    entries = {}
    for key, place in places.items():
        shape, dtype = tf_slices.sized(place.shape, place.kind, available)
        if key.startswith(b"\x00"):  # a slice, which its variable finds
            continue
        if len(key) > LONGEST_NAME:
            raise Malformed(f"a name of {len(key)} bytes")
        name = key.decode()
        if dtype.hasobject:
            read = functools.partial(_refuse, index, name, place.kind)
        elif place.slices:
            read = functools.partial(_join, places, files, name, dtype, index)
        else:
            _check_size(name, shape, dtype, place)
            read = functools.partial(_read, files[place.shard], name, dtype, place)
        entries[name] = Entry(shape, dtype, read)
    return entries


def _check_size(
    name: str, shape: tuple[int, ...], dtype: np.dtype, place: _Place
) -> None:
    needed = math.prod(shape) * dtype.itemsize
    if needed != place.size:
        raise Malformed(
            f"{quoted(name)} has {place.size} bytes, its shape {list(shape)} {needed}"
        )


def _read(file: Path, name: str, dtype: np.dtype, place: _Place) -> np.ndarray:
    with reading(file, _WHAT):
        data = np.fromfile(file, np.uint8, place.size, offset=place.offset)
        if len(data) != place.size:
            raise Malformed(f"it ends within {quoted(name)} at byte {place.offset}")
        if crc32c.crc32c(data) != crc32c.unmask(place.checksum):
            raise Malformed(f"{quoted(name)} at byte {place.offset} fails its checksum")
        # Any byte but 0 and 1 would make a boolean that equals neither.
        array = data != 0 if dtype.kind == "b" else data.view(dtype)
        return array.reshape(place.shape)


def _join(
    places: dict[bytes, _Place],
    files: dict[int, Path],
    name: str,
    dtype: np.dtype,
    index: Path,
) -> np.ndarray:
    whole = places[name.encode()]

    def read(extents, shape):
        place = places.get(tf_slices.key(name, extents))
        if place is None or (place.shape, place.kind) != (shape, whole.kind):
            raise Malformed(f"{quoted(name)} lacks its slice of shape {list(shape)}")
        if place.slices:
            raise Malformed(f"a slice of {quoted(name)} has slices")
        _check_size(name, shape, dtype, place)
        return _read(files[place.shard], name, dtype, place)

    with reading(index, _WHAT):
        return tf_slices.join(whole.shape, dtype, whole.slices, read)


def _refuse(path: Path, name: str, kind: int) -> np.ndarray:
    held = "strings" if kind == tf_slices.STRING else f"TensorFlow's type {kind}"
    raise UserError(
        f"{shown(path)}: {quoted(name)} holds {held}; expected numbers; leave it out"
    )
