"""Files as memory that is read when it is touched."""

import mmap
import os

from jaxseg.pretrained.readers.entries import Malformed, file_size


def mapped(path: str | os.PathLike) -> memoryview:
    """Return the bytes of a file, read-only, without reading them yet.

    Raises:
      Malformed: it is empty or not a regular file.
      OSError: it cannot be opened.
    """
    if not file_size(path):
        raise Malformed("it is empty")
    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def allowance(data: memoryview) -> int:
    """Return how many bytes the contents of a file may take once unpacked.

    Compression and tensors that share their bytes could otherwise make a small file an
    endless one.
    """
    return 4 * len(data) + (48 << 20)
