"""Named arrays in one file, which is there whole or not at all."""

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from jaxseg.errors import UserError
from jaxseg.runtime import files

_T = TypeVar("_T")
_UNREADABLE = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error),  # of the file
    *(ValueError, KeyError, TypeError),  # of what it holds
)


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as .npz, and make the folders that are missing.

    Raises:
      UserError: the system refuses.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path, buffer.getvalue())


def read(path: Path, make: Callable[[Mapping[str, np.ndarray]], _T], what: str) -> _T:
    """Return `make` of the arrays that `write` wrote.

    Args:
      what: the file should hold, for the message.

    Raises:
      UserError: the file is damaged, or `make` does not find what it needs.
    """
    try:
        with np.load(path) as arrays:
            return make(dict(arrays))
    except _UNREADABLE as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}: {error}); expected "
            f"{what} that jaxseg wrote; delete it and run again"
        ) from error
