"""Slices of tensors: how TensorFlow stores a variable in parts, or a whole one.

A slice is kept as its TensorSliceProto until it is needed. Source:
tensorflow/core/framework/tensor_slice.proto, and the order-preserving code of
tensorflow/core/lib/strings/ordered_code.cc in which keys hold slices.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import ml_dtypes
import numpy as np

from jaxseg.pretrained.readers import proto
from jaxseg.pretrained.readers.entries import (
    MOST_DIMENSIONS,
    Malformed,
    checked_shape,
)

# tensorflow/core/framework/types.proto
DTYPES = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    5: np.dtype("<i2"),
    6: np.dtype("i1"),
    9: np.dtype("<i8"),
    10: np.dtype("?"),
    14: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype("<u2"),
    19: np.dtype("<f2"),
    22: np.dtype("<u4"),
    23: np.dtype("<u8"),
}
STRING = 7


class Extent(NamedTuple):
    """Hold the part of one dimension that a slice covers; length None for all."""

    start: int
    length: int | None


def parse(data: bytes | memoryview) -> tuple[Extent, ...]:
    """Return the extents of a TensorSliceProto, one for each dimension."""
    extents = []
    for number, wire, value in proto.fields(memoryview(data)):
        if number == 1:
            extents.append(_extent(proto.message(wire, value)))
        if len(extents) > MOST_DIMENSIONS:
            raise Malformed("a slice has too many dimensions")
    return tuple(extents)


def shape(message: memoryview) -> tuple[int, ...]:
    """Return the sizes of a TensorShapeProto; Malformed where it has no known rank."""
    sizes = []
    for number, wire, value in proto.fields(message):
        if number == 2:
            size = 0
            for inner, kind, one in proto.fields(proto.message(wire, value)):
                if inner == 1:
                    size = proto.signed(proto.number(kind, one))
            sizes.append(size)
        elif number == 3 and value:
            raise Malformed("a tensor has a shape of unknown rank")
        if len(sizes) > MOST_DIMENSIONS:
            raise Malformed(f"a tensor has more than {MOST_DIMENSIONS} dimensions")
    return tuple(sizes)


def key(name: str, extents: Sequence[Extent]) -> bytes:
    """Return the key under which the table has a slice of a tensor."""
    escaped = name.encode().replace(b"\xff", b"\xff\x00").replace(b"\x00", b"\x00\xff")
    out = b"\x00" + escaped + b"\x00\x01" + _increasing(len(extents))
    for extent in extents:
        length = -1 if extent.length is None else extent.length
        out += _signed_increasing(extent.start) + _signed_increasing(length)
    return out


def bounds(
    extents: Sequence[Extent], full: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """Return (start, length) for each dimension of a tensor of a shape.

    Raises:
      Malformed: the slice has other dimensions, or does not lie inside.
    """
    if len(extents) != len(full):
        raise Malformed(f"a slice of {len(extents)} dimensions of shape {list(full)}")
    found = tuple(
        (e.start, n if e.length is None else e.length) for e, n in zip(extents, full)
    )
    if any(s < 0 or n < 0 or s + n > size for (s, n), size in zip(found, full)):
        raise Malformed(f"a slice {list(found)} does not lie in the shape {list(full)}")
    return found


def join(
    full: tuple[int, ...],
    dtype: np.dtype,
    slices: Sequence[bytes],
    read: Callable[[Sequence[Extent], tuple[int, ...]], np.ndarray],
) -> np.ndarray:
    """Return a tensor put together from its slices.

    Args:
      full: its shape.
      dtype: its type.
      slices: a TensorSliceProto each.
      read: returns the array of a shape for the extents of a slice.

    Raises:
      Malformed: the slices leave out or repeat an element; found before the tensor
        takes memory, unless they repeat some and leave out as many.
    """
    parts = sorted((parse(s) for s in slices), key=lambda extents: key("", extents))
    places = [bounds(extents, full) for extents in parts]
    volume = sum(math.prod(n for _, n in place) for place in places)
    if volume != math.prod(full):
        raise Malformed(
            f"slices hold {volume} of {math.prod(full)} elements of a tensor; other "
            "files may have the rest"
        )
    if len(parts) == 1:
        return read(parts[0], full)
    out, seen = np.empty(full, dtype), np.zeros(full, bool)
    for extents, place in zip(parts, places):
        where = tuple(slice(s, s + n) for s, n in place)
        out[where] = read(extents, tuple(n for _, n in place))
        seen[where] = True
    if not seen.all():
        raise Malformed("two slices of a tensor hold the same elements")
    return out


def sized(
    full: tuple[int, ...], kind: int, available: int
) -> tuple[tuple[int, ...], np.dtype]:
    """Return the checked shape and dtype for a shape and a DataType of TensorFlow.

    Types that NumPy has no use for, as strings, give the dtype object.
    """
    dtype = DTYPES.get(kind, np.dtype(object))
    itemsize = 0 if dtype.hasobject else dtype.itemsize
    return checked_shape(full, itemsize, available), dtype


def _extent(message: memoryview) -> Extent:
    start, length = 0, None
    for number, wire, value in proto.fields(message):
        if number == 1:
            start = proto.signed(proto.number(wire, value))
        elif number == 2:
            length = proto.signed(proto.number(wire, value))
    return Extent(start, length)


def _increasing(value: int) -> bytes:
    size = (value.bit_length() + 7) // 8
    return bytes([size]) + value.to_bytes(size, "big")


def _signed_increasing(value: int) -> bytes:
    """Return the bytes of a signed number: as many one bits as bytes, then the number.

    Both in as few bytes as hold them; all bits are inverted for a negative number.
    """
    size = (~value if value < 0 else value).bit_length() // 7 + 1
    ones = ((1 << size) - 1) << 7 * size
    return ((value & (1 << 8 * size) - 1) ^ ones).to_bytes(size, "big")
