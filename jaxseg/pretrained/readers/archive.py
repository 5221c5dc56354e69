"""Zip files as torch and NumPy write them, checked before anything is unpacked.

Source: sections 4.3 to 4.5 of PKWARE's APPNOTE.TXT. Members are stored or deflated, in
one file without anything in front; sizes come from the directory at the end, as the
headers in front of the data may not have them yet.
"""

import struct
import zlib
from typing import NamedTuple

from jaxseg.pretrained.readers.entries import (
    LONGEST_NAME,
    MOST_ENTRIES,
    Malformed,
    quoted,
)
from jaxseg.pretrained.readers.mapping import allowance

STORED, DEFLATED = 0, 8

_MOST_MEMBERS = 2 * MOST_ENTRIES
_ENCRYPTED = 1
_LONGEST_COMMENT = 1 << 16
_CHUNK = 1 << 16
_STRONGEST = 1032  # bytes out of one, the most that deflate can do

# Each begins with its signature; "x" are bytes that do not matter here.
_LOCAL = struct.Struct("<4s22xHH")
_MEMBER = struct.Struct("<4s4xHH4xIIIHHH8xI")
_END = struct.Struct("<4s6xHII2x")
_LOCATOR = struct.Struct("<4s4xQ4x")
_END64 = struct.Struct("<4s28xQQQ")


class Member(NamedTuple):
    """Hold what the directory says about a member."""

    size: int  # bytes once unpacked
    packed: int  # bytes in the file
    method: int
    checksum: int
    offset: int  # of the header in front of the data
    limit: int  # where the next thing in the file begins


class Archive:
    """Hold the members of a zip file by name, and give out their bytes."""

    def __init__(self, data: memoryview):
        """Read the directory.

        Raises:
          Malformed: it is damaged; members overlap, repeat a name or are of another
            kind than above; or they would unpack to more than `allowance`.
        """
        self._data = data
        self._whole: set[str] = set()
        self.members = _directory(data)
        if sum(member.size for member in self.members.values()) > allowance(data):
            raise Malformed("its members unpack to far more than the file")

    def read(self, name: str) -> memoryview:
        """Return the bytes of a member, unpacked; Malformed where they are damaged."""
        member, packed = self.members[name], self._packed(name)
        if member.method == STORED:
            unpacked = packed
        else:
            unpacked = memoryview(_inflate(packed, member.size))
        if len(unpacked) != member.size:
            raise Malformed(f"{quoted(name)} does not unpack to its size")
        if name not in self._whole:
            if zlib.crc32(unpacked) != member.checksum:
                raise Malformed(f"{quoted(name)} fails its checksum")
            if member.method == STORED:
                self._whole.add(name)
        return unpacked

    def start(self, name: str, count: int) -> bytes:
        """Return at most so many first bytes of a member, without the checksum."""
        packed = self._packed(name)
        if self.members[name].method == STORED:
            return bytes(packed[:count])
        return bytes(_inflate(packed[: 2 * count + 1024], count))

    def _packed(self, name: str) -> memoryview:
        member = self.members[name]
        header = self._data[member.offset : member.limit][: _LOCAL.size]
        if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
            raise Malformed(f"{quoted(name)} has no header at byte {member.offset}")
        _, name_size, extra_size = _LOCAL.unpack(header)
        start = member.offset + _LOCAL.size + name_size + extra_size
        if start + member.packed > member.limit:
            raise Malformed(f"{quoted(name)} overlaps what follows at {member.limit}")
        return self._data[start : start + member.packed]


def _directory(data: memoryview) -> dict[str, Member]:
    count, start, end = _find_directory(data)
    if count > _MOST_MEMBERS:
        raise Malformed(f"a zip file of {count} members")
    found, at = {}, start
    for _ in range(count):
        name, member, at = _member(data, at, end)
        if name in found:
            raise Malformed(f"the zip file has {quoted(name)} twice")
        found[name] = member
    ordered = sorted(member.offset for member in found.values())
    limits = dict(zip(ordered, [*ordered[1:], start]))
    if len(limits) != len(found) or (ordered and ordered[-1] >= start):
        raise Malformed("the members of the zip file overlap")
    return {
        name: member._replace(limit=limits[member.offset])
        for name, member in found.items()
    }


def _find_directory(data: memoryview) -> tuple[int, int, int]:
    """Return the number of members, and where the directory starts and ends."""
    tail = bytes(data[-(_END.size + _LONGEST_COMMENT) :])
    at = tail.rfind(b"PK\5\6", 0, len(tail) - _END.size + 4)
    if at < 0:
        raise Malformed("a zip file without its directory, as when it is cut short")
    _, count, size, start = _END.unpack_from(tail, at)
    end = len(data) - len(tail) + at
    locator = end - _LOCATOR.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\6\7":
        _, end = _LOCATOR.unpack_from(data, locator)
        if end > locator - _END64.size or data[end : end + 4] != b"PK\6\6":
            raise Malformed("a zip file whose large directory is not where it says")
        _, count, size, start = _END64.unpack_from(data, end)
    if start + size != end:
        raise Malformed("a zip file whose directory is not where it says")
    return count, start, end


def _member(data: memoryview, at: int, end: int) -> tuple[str, Member, int]:
    """Return one line of the directory, and where the next begins."""
    if at + _MEMBER.size > end or data[at : at + 4] != b"PK\1\2":
        raise Malformed(f"the directory of the zip file breaks off at byte {at}")
    _, flags, method, checksum, packed, size, *sizes, offset = _MEMBER.unpack_from(
        data, at
    )
    name_size, extra_size, comment_size = sizes
    at += _MEMBER.size
    next_at = at + name_size + extra_size + comment_size
    if next_at > end or name_size > LONGEST_NAME:
        raise Malformed(f"the directory of the zip file breaks off at byte {at}")
    name = str(data[at : at + name_size], "utf-8", "backslashreplace")
    extra = data[at + name_size : at + name_size + extra_size]
    size, packed, offset = _large(extra, [size, packed, offset])
    if flags & _ENCRYPTED or method not in (STORED, DEFLATED):
        raise Malformed(f"{quoted(name)} is encrypted or packed by method {method}")
    if method == STORED and size != packed:
        raise Malformed(f"{quoted(name)} is stored but has two sizes")
    return name, Member(size, packed, method, checksum, offset, offset), next_at


def _large(extra: memoryview, numbers: list[int]) -> list[int]:
    """Return sizes and offset, those that 32 bits cannot hold from the extra field."""
    if 0xFFFFFFFF not in numbers:
        return numbers
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = struct.iter_unpack("<Q", extra[at + 4 : at + 4 + size // 8 * 8])
            found = [value for (value,) in values][::-1]
            return [found.pop() if n == 0xFFFFFFFF else n for n in numbers]
        at += 4 + size
    return numbers


def _inflate(packed: memoryview, most: int) -> bytearray:
    """Return at most so many bytes of deflated data.

    In pieces, because zlib by itself would hold everything twice.
    """
    if most > _STRONGEST * len(packed) + _CHUNK:
        raise Malformed(f"{len(packed)} bytes that should unpack to {most}")
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces = (packed[at : at + _CHUNK] for at in range(0, len(packed), _CHUNK))
    out, done = bytearray(most), 0
    while done < most:
        piece = machine.unconsumed_tail or next(pieces, b"")
        try:
            unpacked = machine.decompress(piece, min(_CHUNK, most - done))
        except zlib.error as error:
            raise Malformed(f"compressed data are damaged ({error})") from error
        # Without input, there may still be output that waits inside.
        if not unpacked and not piece:
            del out[done:]
            break
        out[done : done + len(unpacked)] = unpacked
        done += len(unpacked)
    return out
