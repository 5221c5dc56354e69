"""Files that are either the old one or the new one, and work that only one does."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jaxseg.errors import UserError

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def write_atomically(path: str | os.PathLike, data: bytes | str) -> None:
    """Write a whole file under a temporary name, then rename it into place.

    Raises UserError naming the file where the system refuses; the old one stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    with writing(path):
        try:
            with open(temporary, "wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Turn the system's errors while writing `path` into a UserError that names it."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); expected a place "
            "with room and permission; make some or write elsewhere"
        ) from error


@contextlib.contextmanager
def locked(path: str | os.PathLike, message: str) -> Iterator[None]:
    """Hold a lock file, which goes when it is let go of or when the process ends.

    Where the file system has no locks, nothing is held.

    Raises:
      UserError: with `message` where another holder is at work, or the file cannot be
        written.
    """
    with claimed(path) as mine:
        if not mine:
            raise UserError(message)
        yield


@contextlib.contextmanager
def claimed(path: str | os.PathLike) -> Iterator[bool]:
    """Try to hold a lock file as `locked` does, and say whether it is held.

    Raises:
      UserError: the file cannot be written.
    """
    with writing(path):
        file = _lock(Path(path))
    if file is None:
        yield False
        return
    with file:
        try:
            yield True
        finally:
            Path(path).unlink(missing_ok=True)


def _lock(path: Path) -> IO | None:
    """Return the file at `path`, open and locked, or None where another has it."""
    while True:
        file = open(path, "w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                file.close()
                raise
        # The holder before may have removed the file between the two calls; a lock on
        # what has no name any more keeps nobody out.
        if _is_at(file, path):
            return file
        file.close()


def _is_at(file: IO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
