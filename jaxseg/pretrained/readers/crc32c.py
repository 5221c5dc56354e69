"""CRC-32C of megabytes, and the masked form that checkpoint tables store.

The remainder of a division by P(x) is unchanged when a multiple of P is added, and
over two elements P(x)^(2^k) = P(x^(2^k)) has no more terms than P. So rows of 64 * 2^k
bits are folded into later rows by one exclusive or for each term, however long they
are, until 32 rows stand for all of the data; these are cut shorter, and so on.
"""

import numpy as np

_EXPONENTS = (28, 27, 26, 25, 23, 22, 20, 19, 18, 14, 13, 11, 10, 9, 8, 6, 0)
_DEGREE = 32  # P = x^32 + the terms above, 0x1EDC6F41
_REFLECTED = 0x82F63B78
_GAPS = tuple(_DEGREE - exponent for exponent in _EXPONENTS)
_STRIDE = min(_GAPS)  # rows folded at a time: they do not reach one another
_WIDTHS = tuple(2**k for k in range(11, 0, -1))  # of a row, in words of 8 bytes
_CHUNK = 1 << 20
_SHORT = 2048  # bytes; below, the loop over bytes is as fast
_ONES = 0xFFFFFFFF


def crc32c(data: bytes | memoryview | np.ndarray) -> int:
    """Return the CRC-32C (Castagnoli) of contiguous bytes."""
    data = memoryview(data)
    if data.nbytes:
        data = data.cast("B")
    whole = len(data) - len(data) % 8 if len(data) >= _SHORT else 0
    if not whole:
        return _loop(bytes(data), _ONES) ^ _ONES
    rest = np.zeros(0, np.uint64)
    for at in range(0, whole, _CHUNK):
        part = np.frombuffer(data[at : min(at + _CHUNK, whole)], np.uint64)
        part = np.concatenate([rest, part])
        if not at:  # the register starts as ones, so the first four bytes flip
            part.view(np.uint8)[:4] ^= 0xFF
        rest = _fold(part, _WIDTHS[0])
    for width in _WIDTHS[1:]:
        rest = _fold(rest, width)
    register = _loop(rest.tobytes(), 0)
    return _loop(bytes(data[whole:]), register) ^ _ONES


def unmask(masked: int) -> int:
    """Return the CRC that a stored one stands for, as LevelDB masks it."""
    rotated = (masked - 0xA282EAD8) & _ONES
    return (rotated >> 17 | rotated << 15) & _ONES


def mask(crc: int) -> int:
    """Return the form in which a CRC is stored; see `unmask`."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & _ONES


def _fold(words: np.ndarray, width: int) -> np.ndarray:
    """Return fewer words [m] with the remainder of words [n], which are overwritten."""
    # Zeros in front change nothing, so the first row may be a short one.
    excess = len(words) // width - _DEGREE
    if excess <= 0:
        return words
    head = len(words) % width
    rows = words[head:].reshape(-1, width)
    if head:
        rows = np.concatenate([np.zeros((1, width), np.uint64), rows])
        rows[0, width - head :] = words[:head]
        excess += 1
    for i in range(0, excess, _STRIDE):
        top = rows[i : min(i + _STRIDE, excess)]
        for gap in _GAPS:
            rows[i + gap : i + gap + len(top)] ^= top
    return rows[excess:].reshape(-1)


def _table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [x >> 1 ^ (_REFLECTED if x & 1 else 0) for x in table]
    return table


_TABLE = _table()


def _loop(data: bytes, register: int) -> int:
    for byte in data:
        register = _TABLE[(register ^ byte) & 0xFF] ^ register >> 8
    return register
