"""PNG files checked without decoding them: header, end, and the checksums between."""

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from jaxseg.errors import UserError

GREY, RGB = 0, 2  # colour types

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_HEADER_BYTES = 33  # signature and the chunk IHDR


class Header(NamedTuple):
    """Hold what a file says of its pixels."""

    width: int
    height: int
    bits: int  # of a sample
    colour: int  # `GREY`, `RGB` or another type


def check(path: Path, whole: bool = True, remedy: str = "restore the file") -> Header:
    """Return the header of a file that is a whole PNG.

    whole: read all of it and compare every checksum; else look at both ends only,
    which finds files that were cut but not those that were damaged. Raises UserError
    naming the file and the `remedy`.
    """
    try:
        data = path.read_bytes() if whole else _ends(path)
        problem = _problem(data, whole)
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise UserError(f"{path}: {problem}; expected a whole PNG; {remedy}")
    return Header(*struct.unpack(">IIBB", data[16:26]))


def _ends(path: Path) -> bytes:
    with open(path, "rb") as file:
        head = file.read(_HEADER_BYTES)
        file.seek(0, 2)
        file.seek(max(file.tell() - len(_END), 0))
        return head + file.read()


def _problem(data: bytes, whole: bool) -> str | None:
    """Return what is wrong with a file, or with its two ends."""
    if data[:8] != _SIGNATURE or data[12:16] != b"IHDR" or len(data) < _HEADER_BYTES:
        return f"no PNG ({len(data)} bytes)" if data else "an empty file"
    if not data.endswith(_END):
        return "a PNG that was cut short"
    at, view = len(_SIGNATURE), memoryview(data)
    while whole and at < len(data):
        end = at + 12 + int.from_bytes(view[at : at + 4], "big")
        stored = int.from_bytes(view[end - 4 : end], "big")
        if end > len(data) or zlib.crc32(view[at + 4 : end - 4]) != stored:
            return f"a PNG with damage behind byte {at}"
        at = end
    return None
