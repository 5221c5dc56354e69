"""What every checkpoint reader returns, and how it speaks of a damaged file."""

import contextlib
import math
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxseg.errors import UserError

MOST_DIMENSIONS = 32
MOST_ENTRIES = 20_000  # one costs about a kilobyte however few bytes declare it
LONGEST_NAME = 4096  # bytes

# What code that believes a file raises where the file lies.
_DAMAGE = (OSError, struct.error, ValueError, ArithmeticError, LookupError, EOFError)
_LARGEST = 2**62


class Malformed(Exception):
    """Damage inside a file: says what is wrong and at which byte.

    Stays inside the readers; `reading` turns it into a UserError.
    """

    def __init__(self, problem: str, remedy: str = "copy or download it again"):
        super().__init__(problem)
        self.remedy = remedy


class Entry(NamedTuple):
    """Hold one tensor of a checkpoint, not yet read."""

    shape: tuple[int, ...]
    dtype: np.dtype  # of what read() returns, in the machine's byte order
    read: Callable[[], np.ndarray]  # reads and checks now; UserError on damage


class Checkpoint(NamedTuple):
    """Hold the tensors of a checkpoint by the names that their writer gave them."""

    format: str  # for people: "TensorFlow V2", "torch", "npz"
    path: Path
    entries: dict[str, Entry]


@contextlib.contextmanager
def reading(path: str | os.PathLike, what: str) -> Iterator[None]:
    """Turn what goes wrong inside into a UserError of one line that names the file.

    Args:
      path: the file.
      what: what it should have been, as "a whole TensorFlow V2 checkpoint".
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(
            f"there is no file {shown(error.filename or path)}; expected {what}; "
            "give another path or copy what is missing"
        ) from error
    except MemoryError as error:
        raise UserError(
            f"{shown(path)} does not fit into memory; expected {what}; free memory "
            "or use a machine with more of it"
        ) from error
    except (Malformed, *_DAMAGE) as error:
        reason = getattr(error, "strerror", None) or error
        remedy = getattr(error, "remedy", "copy or download it again")
        raise UserError(
            f"{shown(path)} cannot be read ({shown(reason, 300)}); expected {what}; "
            f"{remedy}"
        ) from error


def shown(text: object, longest: int = 1000) -> str:
    """Return text as it may stand in a message: one line, printable, not endless."""
    text = str(text)
    line = "".join(
        c if c.isprintable() else ascii(c)[1:-1] for c in text[: longest + 1]
    )
    return line if len(line) <= longest else line[:longest] + "..."


def quoted(name: str | bytes) -> str:
    """Return the name of a tensor as it may stand in a message."""
    return f"'{shown(name if isinstance(name, str) else ascii(name)[2:-1], 120)}'"


def checked_shape(
    shape: Sequence[int], itemsize: int, available: int
) -> tuple[int, ...]:
    """Return a declared shape, once that many bytes are known to be there.

    Args:
      shape: as the file declares it, any integers.
      itemsize: bytes of an element.
      available: bytes that the tensor may take at most.

    Raises:
      Malformed: more dimensions than an array can have, a negative one, or more
        elements than fit.
    """
    shape = tuple(int(size) for size in shape)
    if len(shape) > MOST_DIMENSIONS:
        raise Malformed(f"a tensor has {len(shape)} dimensions")
    if any(size < 0 for size in shape):
        raise Malformed(f"a tensor has the shape {list(shape)}")
    # An empty array must have strides too.
    if math.prod(size for size in shape if size) * itemsize > _LARGEST:
        raise Malformed(f"a tensor has the shape {list(shape)}")
    needed = math.prod(shape) * itemsize
    if needed > available:
        raise Malformed(
            f"a tensor of shape {list(shape)} needs {needed} bytes where at most "
            f"{available} can be"
        )
    return shape


def file_size(path: str | os.PathLike) -> int:
    """Return the size of a regular file in bytes; Malformed for a folder or device."""
    if not os.path.isfile(path):
        os.stat(path)  # the error for a missing file
        raise Malformed("it is not a regular file")
    return os.stat(path).st_size
