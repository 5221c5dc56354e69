"""From a record to pixels: encoded in the record itself, or in files that it names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.data import cityscapes
from jaxseg.data.opencv import cv2
from jaxseg.errors import UserError
from jaxseg.runtime import files

ROOT_FILE = "archive.json"  # where the files of the records lie

# (record, its number) -> image uint8 [H, W, 3] BGR, labels uint8 [H, W] or None
Reader = Callable[[dict, int], tuple[np.ndarray, np.ndarray | None]]


def reader(folder: Path, content: dict[str, Any], split: str) -> Reader:
    """Return what reads the records of a split; `content` is the folder's index.

    Raises UserError where the files of the records are gone.
    """
    if content.get("pixels") == "files":
        return _FileReader(_root(folder))
    return _RecordReader(folder, split)


def note_root(folder: Path, root: Path) -> None:
    """Write down in a prepared folder where its files lie.

    Apart from the index, because what was learned from a set does not depend on it.
    """
    content = json.dumps({"folder": str(root.resolve())})
    path = folder / ROOT_FILE
    if not path.is_file() or path.read_text() != content:
        files.write_atomically(path, content)


def _root(folder: Path) -> Path:
    try:
        root = Path(json.loads((folder / ROOT_FILE).read_bytes())["folder"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder / ROOT_FILE}: does not say where the frames are ({error!r}); "
            f"expected what preparing wrote; run `jaxseg dataset prepare FRAMES "
            f"{folder}` again"
        ) from error
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder; expected the frames of {folder}; put them back, "
            f"or run `jaxseg dataset prepare NEW_PLACE {folder}`"
        )
    return root


class _RecordReader:
    """Read records that hold an encoded image and label map."""

    def __init__(self, folder: Path, split: str):
        self._folder, self._split = folder, split

    def __call__(self, record: dict, index: int) -> tuple[np.ndarray, np.ndarray]:
        return (
            self._decoded(record["image"], cv2.IMREAD_COLOR, index),
            self._decoded(record["label"], cv2.IMREAD_UNCHANGED, index),
        )

    def _decoded(self, data: bytes, flags: int, index: int) -> np.ndarray:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
        if pixels is None:
            raise UserError(
                f"{self._folder}: record {index} of split {self._split} does not "
                "decode; expected an image; remove the folder and prepare it again"
            )
        return pixels


class _FileReader:
    """Read records that name files below a folder; label maps hold Cityscapes' ids."""

    def __init__(self, root: Path):
        self._root = root
        self._table = cityscapes.lookup().astype(np.uint8)  # checked when prepared

    def __call__(self, record: dict, index: int):
        image = self._decoded(record["image"], cv2.IMREAD_COLOR)
        if not record["label"]:
            return image, None
        stored = self._decoded(record["label"], cv2.IMREAD_UNCHANGED)
        return image, self._table[stored]

    def _decoded(self, name: bytes, flags: int) -> np.ndarray:
        path = self._root / name.decode()
        try:
            data = np.frombuffer(path.read_bytes(), np.uint8)
        except OSError as error:
            raise self._error(path, error.strerror or str(error)) from error
        pixels = cv2.imdecode(data, flags) if data.size else None
        if pixels is None:
            raise self._error(path, f"{data.size} bytes that do not decode")
        return pixels

    def _error(self, path: Path, found: str) -> UserError:
        return UserError(
            f"{path}: {found}; expected the file that was prepared; restore it, or "
            "prepare the set again into another folder without it (--on-damage=skip)"
        )
