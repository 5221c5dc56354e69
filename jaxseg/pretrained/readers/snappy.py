"""Decompression of raw snappy data, within bounds.

Source: format_description.txt of google/snappy.
"""

from jaxseg.pretrained.readers.entries import Malformed
from jaxseg.pretrained.readers.proto import varint

LONGEST_INPUT = 4 << 20  # bytes; each may cost as much time as a statement
LONGEST_OUTPUT = 16 << 20


def decompress(data: memoryview) -> bytearray:
    """Return the decompressed bytes.

    Raises:
      Malformed: the data is damaged, or longer than blocks of checkpoints are.
    """
    size, at = varint(data, 0)
    if len(data) > LONGEST_INPUT or size > LONGEST_OUTPUT:
        raise Malformed(f"a compressed block of {len(data)} bytes makes {size}")
    out = bytearray()
    while at < len(data):
        tag = data[at]
        if tag & 3:
            at = _copy(data, at, out, size)
        else:
            at = _literal(data, at, out, size)
    if len(out) != size:
        raise Malformed(f"a compressed block makes {len(out)} bytes, not {size}")
    return out


def _literal(data: memoryview, at: int, out: bytearray, size: int) -> int:
    length, at = data[at] >> 2, at + 1
    if length >= 60:  # the length stands in 1 to 4 further bytes
        extra = length - 59
        length = int.from_bytes(data[at : at + extra], "little")
        at += extra
    end = at + length + 1
    if end > len(data) or len(out) + length + 1 > size:
        raise Malformed(f"a compressed block is damaged at its byte {at}")
    out += data[at:end]
    return end


def _copy(data: memoryview, at: int, out: bytearray, size: int) -> int:
    tag = data[at]
    extra = (1, 2, 4)[(tag & 3) - 1]
    operand = data[at + 1 : at + 1 + extra]
    offset = int.from_bytes(operand, "little")
    length = (tag >> 2) + 1
    if extra == 1:
        length = (tag >> 2 & 7) + 4
        offset |= tag >> 5 << 8
    if len(operand) < extra or not 0 < offset <= len(out) or len(out) + length > size:
        raise Malformed(f"a compressed block is damaged at its byte {at}")
    start = len(out) - offset
    piece = out[start : start + length]
    # A copy may run into what it writes itself, which repeats the piece.
    out += (piece * (length // len(piece) + 1))[:length]
    return at + 1 + extra
