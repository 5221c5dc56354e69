"""What an interrupted preparation has checked already, so that it is not read again."""

import hashlib
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path


class Journal:
    """Keep a yes or no for every key, in a file of lines that survives a kill.

    Without a path nothing is kept beyond the object. Safe to use from several threads.
    """

    def __init__(self, path: str | os.PathLike | None = None):
        """Read what is there; a line that was cut off is as good as none."""
        self._lock = threading.Lock()
        self._known = {}
        self._path = None if path is None else Path(path)
        if self._path is not None and self._path.is_file():
            self._known = dict(_lines(self._path.read_text("utf-8", "replace")))

    def get(self, key: str) -> bool | None:
        """Return what was noted for a key, None where nothing was."""
        return self._known.get(key)

    def add(self, key: str, value: bool) -> None:
        """Note a value, on disk before this returns."""
        with self._lock:
            self._known[key] = value
            if self._path is not None:
                # The line break comes first: the last line may have been cut off.
                with open(self._path, "a", encoding="utf-8") as file:
                    file.write(f"\n{json.dumps([key, value])}")

    def remove(self) -> None:
        """Remove the file."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def key(root: Path, files: Iterable[Path], settings: Iterable) -> str:
    """Return a key that changes with any file's name, size or time, and the settings.

    A file that is missing has a key too.
    """
    digest = hashlib.sha256(json.dumps(list(settings)).encode())
    for path in files:
        try:
            found = path.stat()
            state = f"{found.st_size} {found.st_mtime_ns}"
        except OSError:
            state = "none"
        digest.update(f"{path.relative_to(root)} {state}\n".encode())
    return digest.hexdigest()


def _lines(text: str):
    for line in text.splitlines():
        try:
            name, value = json.loads(line)
        except (TypeError, ValueError):
            continue
        if isinstance(name, str) and isinstance(value, bool):
            yield name, value
