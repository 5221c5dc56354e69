"""The wire format of protocol buffers, read one message at a time.

Source: the encoding page of protobuf.dev. Nothing here knows a schema: callers go
through the fields of a message and enter those that are messages themselves, so the
depth is theirs.
"""

import struct
from collections.abc import Iterator

import numpy as np

from jaxseg.pretrained.readers.entries import Malformed

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_LONGEST_VARINT = 10  # bytes, enough for 64 bits
_MOST_FIELDS = 1 << 20  # of one message; each takes about a microsecond
_CHUNK = 1 << 16


def fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield the fields of a message in their order: number, wire type, value.

    The value is an unsigned int for VARINT, FIXED64 and FIXED32 (see `signed`), and a
    memoryview into the message for BYTES: strings, messages and packed numbers.
    Messages may repeat any field; the last one counts where the schema has one.

    Raises:
      Malformed: a field runs out of the message, its kind is not of this format, or
        there are more fields than a million.
    """
    at, end, count = 0, len(message), 0
    while at < end:
        start, count = at, count + 1
        if count > _MOST_FIELDS:
            raise Malformed(f"a message of more than {_MOST_FIELDS} fields")
        key, at = varint(message, at)
        number, wire = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise Malformed(f"field {number} at byte {start} of a message")
        if wire == VARINT:
            value, at = varint(message, at)
        elif wire == BYTES:
            length, at = varint(message, at)
            value, at = _cut(message, at, length), at + length
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
            value, at = int.from_bytes(_cut(message, at, size), "little"), at + size
        else:  # groups, which none of the formats read here has
            raise Malformed(f"wire type {wire} at byte {start} of a message")
        yield number, wire, value


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the unsigned number that starts at a byte, and where it ends."""
    if at < len(data) and data[at] < 0x80:  # nearly always
        return data[at], at + 1
    value = 0
    for i, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + i + 1
    raise Malformed(f"a number without an end at byte {at} of a message")


def signed(value: int, bits: int = 64) -> int:
    """Return what an int32 or int64 field means by an unsigned number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def message(wire: int, value: int | memoryview) -> memoryview:
    """Return the value of a field that must be a message, a string or packed."""
    if wire != BYTES:
        raise Malformed(f"a message has wire type {wire} where it should have bytes")
    return value


def number(wire: int, value: int | memoryview) -> int:
    """Return the value of a field that must be a single number."""
    if wire == BYTES:
        raise Malformed("a message has bytes where it should have a number")
    return value


def text(wire: int, value: int | memoryview) -> str:
    """Return the value of a field that must be a string in UTF-8."""
    try:
        return bytes(message(wire, value)).decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"a string that is not in UTF-8 ({error.reason})") from error


def integers(wire: int, value: int | memoryview) -> list[int]:
    """Return the signed numbers of a repeated varint field, packed or a single one.

    For a few numbers, as the sizes of a shape; see `numbers` for a tensor.
    """
    if wire == VARINT:
        return [signed(value)]
    found, at = [], 0
    view = message(wire, value)
    while at < len(view):
        one, at = varint(view, at)
        found.append(signed(one))
    return found


def floats(wire: int, value: int | memoryview, dtype: str = "<f4") -> np.ndarray:
    """Return the numbers [n] of a repeated fixed-size field, packed or a single one.

    Args:
      wire: wire type of the field.
      value: its value.
      dtype: "<f4" for float, "<f8" for double; packed numbers are not copied.
    """
    if wire == BYTES:
        if len(value) % np.dtype(dtype).itemsize:
            raise Malformed(f"{len(value)} bytes hold no whole number of {dtype}")
        return np.frombuffer(value, dtype)
    size = {FIXED32: 4, FIXED64: 8}.get(wire)
    if size != np.dtype(dtype).itemsize:
        raise Malformed(f"a message has wire type {wire} where it should have {dtype}")
    return np.frombuffer(struct.pack("<Q", value)[:size], dtype)


def numbers(packed: memoryview, dtype: np.dtype, most: int) -> np.ndarray:
    """Return packed varints as an array [n] of at most so many of an integer type.

    Raises:
      Malformed: there are more of them, or one has no end.
    """
    data = np.frombuffer(packed, np.uint8)
    if len(data) and data[-1] >= 0x80:
        raise Malformed("packed numbers stop inside one")
    parts = range(0, len(data), _CHUNK)
    count = sum(np.count_nonzero(data[i : i + _CHUNK] < 0x80) for i in parts)
    if count > most:
        raise Malformed(f"{count} numbers where at most {most} belong")
    out, done, at = np.empty(count, dtype), 0, 0
    while at < len(data):
        last = np.flatnonzero(data[at : at + _CHUNK] < 0x80)
        if not len(last):
            raise Malformed("a packed number without an end")
        values = _unpack(data[at : at + last[-1] + 1], last)
        out[done : done + len(values)] = values.astype(dtype)
        done, at = done + len(values), at + int(last[-1]) + 1
    return out


def _unpack(data: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the varints [n] of bytes, given the place of the last byte of each."""
    first = np.concatenate([[0], last[:-1] + 1])
    if np.max(last - first) >= _LONGEST_VARINT:
        raise Malformed("a packed number without an end")
    place = np.arange(len(data)) - np.repeat(first, last - first + 1)
    bits = (data & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.bitwise_or.reduceat(bits, first).view(np.int64)


def _cut(message: memoryview, at: int, length: int) -> memoryview:
    if length > len(message) - at:
        raise Malformed(
            f"{length} bytes at byte {at} of a message that has {len(message)}"
        )
    return message[at : at + length]
