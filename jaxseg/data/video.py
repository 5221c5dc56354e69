"""Video files as RGB frames, counted: OpenCV ends early on damage without a word."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxseg.data.opencv import cv2
from jaxseg.errors import UserError

_REMEDY = "restore the file or leave the video out"


def read_video(
    path: str | os.PathLike, expected: int | None = None
) -> Iterator[np.ndarray]:
    """Yield the frames of a video in order, RGB uint8 [H, W, 3].

    The frames delivered are counted against `expected`; without it, against the
    number in the file's header where it has one, with one frame of slack for
    containers other than .avi, some of which only estimate theirs. Raises UserError
    naming the file and both numbers: at once where nothing can be read, after the last
    frame where the count is wrong.
    """
    capture = _open(path, expected)
    delivered = 0
    try:
        declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        while True:
            good, frame = capture.read()
            if not good:
                break
            delivered += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
    if expected is not None:
        wrong, source = delivered != expected, f"{expected} were expected"
    else:
        slack = 0 if Path(path).suffix.lower() == ".avi" else 1
        wrong, source = delivered < declared - slack, f"its header declares {declared}"
    if wrong or not delivered:
        raise UserError(f"{path}: delivered {delivered} frames but {source}; {_REMEDY}")


def _open(path: str | os.PathLike, expected: int | None) -> "cv2.VideoCapture":
    number = "" if expected is None else f" of the {expected} expected"
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; delivered 0 frames{number}; {_REMEDY}")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise UserError(
            f"{path}: not readable as video ({Path(path).stat().st_size} bytes); "
            f"delivered 0 frames{number}; {_REMEDY}"
        )
    return capture
