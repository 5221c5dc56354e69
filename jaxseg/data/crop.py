"""The square about a face: 1-based inclusive boxes (left, top, right, bottom).

Source: mapleandfire/300VW-Mask, processing_scripts/crop_face_and_seg.m. Points are
[68, 2] (x, y) with the first pixel's centre at 1; T frames of one video.
"""

import numpy as np

MODES = ("per_frame", "smoothed", "fixed")
SMOOTHING_FRAMES = 15

_MARGIN = 0.3


def face_square(points: np.ndarray) -> np.ndarray:
    """Return centre x, centre y and half side of the square, float64 [3], whole."""
    low, high = points.min(axis=0), points.max(axis=0)
    sides = round_half_away(high - low)
    centre = round_half_away(low + sides / 2)
    half = round_half_away((1 + _MARGIN) * (sides.sum() / 2) / 2)
    return np.array([*centre, half])


def crop_box(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the authors' crop of one frame, clamped to the image, int32 [4].

    A face wholly outside the image gives a box with right < left or bottom < top.
    """
    return clamp(face_square(points), height, width)


def crop_boxes(
    points: np.ndarray,
    numbers: np.ndarray,
    height: int,
    width: int,
    mode: str = "per_frame",
) -> np.ndarray:
    """Return the boxes of T frames of one video, int32 [T, 4].

    points [T, 68, 2]; numbers [T] increasing frame numbers. `per_frame` is the
    authors' rule; its jitter is motion that flow must explain. `smoothed` averages
    centre and half side over 15 frames within a run of consecutive numbers, fewer at
    the ends. `fixed` gives the video one box: median centre, largest half side.
    """
    squares = np.stack([face_square(frame) for frame in points])
    if mode == "smoothed":
        squares = _smooth(squares, np.asarray(numbers))
    elif mode == "fixed":
        middle = round_half_away(np.median(squares[:, :2], axis=0))
        squares = np.tile([*middle, squares[:, 2].max()], (len(squares), 1))
    elif mode != "per_frame":
        raise ValueError(f"crop mode {mode!r}; expected one of {', '.join(MODES)}")
    return np.stack([clamp(square, height, width) for square in squares])


def clamp(square: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the part of a square (centre x, y, half side) in the image, int32 [4]."""
    x, y, half = square
    box = (max(x - half, 1), max(y - half, 1), min(x + half, width))
    return np.array([*box, min(y + half, height)]).astype(np.int32)


def cut(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the view of image [H, W, ...] inside a box."""
    left, top, right, bottom = (int(value) for value in box)
    return image[top - 1 : bottom, left - 1 : right]


def round_half_away(values: np.ndarray) -> np.ndarray:
    """Round as MATLAB does: halves away from zero."""
    whole = np.trunc(values)
    return whole + np.sign(values) * (np.abs(values - whole) >= 0.5)


def _smooth(squares: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    reach = SMOOTHING_FRAMES // 2
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    smooth = []
    for run in np.split(squares, breaks):
        total = np.concatenate([np.zeros((1, 3)), np.cumsum(run, axis=0)])
        place = np.arange(len(run))
        first = np.maximum(place - reach, 0)
        last = np.minimum(place + reach + 1, len(run))
        smooth.append((total[last] - total[first]) / (last - first)[:, None])
    return round_half_away(np.concatenate(smooth))
