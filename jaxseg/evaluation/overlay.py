"""Overlay video: the frame with its labels, and a strip of keys and probabilities."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxseg.data.opencv import cv2
from jaxseg.errors import UserError

# Calm colours for people to look at; background is left as it is.
COLOURS = np.array(
    [[0, 0, 0], [255, 176, 120], [60, 220, 120], [230, 40, 90], [90, 90, 255]], np.uint8
)
OPACITY = 0.45
KEY_COLOUR = (255, 190, 40)
STRIP_HEIGHT = 64
STRIP_FRAMES = 150
STRIP_PROBABILITY = 0.25  # key probability that fills the strip; most lie far below
_CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP80"}


class Mark(NamedTuple):
    """What the strip shows of one frame."""

    is_key: bool
    probability: float | None


class Writer:
    """Write RGB frames to a video file; a context manager."""

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float):
        """Open `path` for frames of `size` (height, width).

        Raises:
          UserError: a format that cannot be written, or a place that cannot.
        """
        self._path = Path(path)
        suffix = self._path.suffix.lower()
        if suffix not in _CODECS:
            raise UserError(
                f"{path} ends in {suffix or 'nothing'}; expected one of "
                f"{', '.join(_CODECS)}; change the name of the output"
            )
        if not self._path.resolve().parent.is_dir():
            raise UserError(
                f"the folder of {path} does not exist; expected a folder to write to; "
                "make it first"
            )
        # Written under another name, so that a broken run leaves no half video.
        self._partial = self._path.with_name(f".{self._path.stem}.partial{suffix}")
        code = cv2.VideoWriter_fourcc(*_CODECS[suffix])
        self._writer = cv2.VideoWriter(str(self._partial), code, fps, size[::-1])
        if not self._writer.isOpened():
            raise UserError(
                f"{path} cannot be written as {_CODECS[suffix]} video of {size}; "
                "expected a writable place; try another folder or an .avi name"
            )

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 [H, W, 3] RGB."""
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind, *_) -> None:
        self._writer.release()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)


def blend(
    frame: np.ndarray, labels: np.ndarray, box: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """Paint labels over a frame.

    Args:
      frame: uint8 [H, W, 3] RGB.
      labels: uint8 [h, w], stretched over the box.
      box: x, y, width, height in pixels of the frame; all of it if None.
    """
    out = frame.copy()
    x, y, width, height = box or (0, 0, frame.shape[1], frame.shape[0])
    region = out[y : y + height, x : x + width]
    # Class by class, so that edges come out smooth and not in steps.
    shares = [
        cv2.resize((labels == c).astype(np.float32), (width, height))
        for c in range(1, len(COLOURS))
    ]
    alpha = OPACITY * np.stack(shares, -1)
    paint = alpha @ COLOURS[1:].astype(np.float32)
    region[:] = (region * (1 - alpha.sum(-1, keepdims=True)) + paint).clip(0, 255)
    return out


def compose(frame: np.ndarray, marks: list[Mark], caption: str) -> np.ndarray:
    """Put the strip of the latest marks and a caption under a frame.

    A key frame also gets a border. Returns uint8 [H + STRIP_HEIGHT, W, 3].
    """
    frame = frame.copy()
    if marks[-1].is_key:
        last = (frame.shape[1] - 1, frame.shape[0] - 1)
        cv2.rectangle(frame, (0, 0), last, KEY_COLOUR, 4)
    strip = np.full((STRIP_HEIGHT, frame.shape[1], 3), 24, np.uint8)
    _draw_marks(strip, marks[-STRIP_FRAMES:])
    cv2.putText(
        strip,
        caption,
        (8, 16),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.42,
        (225, 225, 225),
        1,
        cv2.LINE_AA,
    )
    return np.concatenate([frame, strip])


def _draw_marks(strip, marks):
    height, width = strip.shape[:2]
    top, base = 24, height - 6
    place = lambda i: round(i * (width - 9) / (STRIP_FRAMES - 1)) + 4
    cv2.line(strip, (4, base), (width - 5, base), (70, 70, 70), 1)
    for index, mark in enumerate(marks):
        if mark.is_key:
            cv2.line(strip, (place(index), top), (place(index), base), KEY_COLOUR, 2)
    points = [
        (place(i), round(base - _height(mark.probability) * (base - top)))
        for i, mark in enumerate(marks)
        if mark.probability is not None
    ]
    if len(points) > 1:
        line = np.array(points, np.int32)
        cv2.polylines(strip, [line], False, (120, 200, 255), 1, cv2.LINE_AA)


def _height(probability: float) -> float:
    return min(probability / STRIP_PROBABILITY, 1.0)
