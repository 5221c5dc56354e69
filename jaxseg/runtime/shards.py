"""Large arrays in files that are mapped into memory and say when they are damaged.

A file is a plain .npy with the CRC-32 of it all as four more bytes, little endian,
which other readers of .npy pass over.
"""

import io
import os
import tokenize
import zlib
from pathlib import Path

import numpy as np

from jaxseg.errors import UserError
from jaxseg.runtime import files

_SUM_BYTES = 4
_BLOCK = 2**20
# What numpy raises for bytes that are no array.
_UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, OverflowError, AttributeError),
    *(SyntaxError, tokenize.TokenError),
)


def write(path: Path, array: np.ndarray) -> None:
    """Write an array of plain numbers, whole or not at all; make missing folders.

    Raises:
      UserError: the system refuses.
    """
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    buffer.write(zlib.crc32(buffer.getbuffer()).to_bytes(_SUM_BYTES, "little"))
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path, buffer.getvalue())


def read(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, *, check: bool = True
) -> np.ndarray:
    """Map an array that `write` wrote into memory, read-only.

    Args:
      shape, dtype: what it should have.
      check: read it all and compare its checksum.

    Raises:
      UserError: it is not that array, or damaged; names the file.
    """
    try:
        if check and not _is_whole(path):
            raise _damaged(path, "its checksum is another")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        found = f"{array.dtype} {list(array.shape)}"
        size = os.path.getsize(path) - array.offset - array.nbytes
    except _UNREADABLE as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if array.shape != tuple(shape) or array.dtype != dtype:
        raise _damaged(path, f"{found} instead of {dtype} {list(shape)}")
    if size != _SUM_BYTES:
        raise _damaged(path, f"{size} bytes behind the array instead of {_SUM_BYTES}")
    return array


def _is_whole(path: Path) -> bool:
    left, found = os.path.getsize(path) - _SUM_BYTES, 0
    with open(path, "rb") as file:
        while left > 0:
            block = file.read(min(_BLOCK, left))
            if not block:
                return False
            found, left = zlib.crc32(block, found), left - len(block)
        return file.read() == found.to_bytes(_SUM_BYTES, "little")


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} cannot be read ({why}); expected an array that jaxseg wrote; delete "
        "the file and run again"
    )
