"""From 68 landmarks to the label map of a face, as the 300VW-Mask scripts draw it.

Source: mapleandfire/300VW-Mask, processing_scripts/do_segmentation.m and
interpolate_xx_yy.m. Coordinates are (x, y) with the first pixel's centre at 1.
"""

import functools

import numpy as np
from scipy import interpolate

# Landmark numbers, 1-based, of every curve; the brow line is the upper edge of the
# skin, so there is no forehead.
CURVES = {
    "left_eye_up": (37, 38, 39, 40),
    "left_eye_down": (40, 41, 42, 37),
    "right_eye_up": (43, 44, 45, 46),
    "right_eye_down": (46, 47, 48, 43),
    "out_lip_up1": (49, 50, 51, 52),
    "out_lip_up2": (52, 53, 54, 55),
    "out_lip_down": (55, 56, 57, 58, 59, 60, 49),
    "inner_lip_up": (61, 62, 63, 64, 65),
    "inner_lip_down": (65, 66, 67, 68, 61),
    "face_edge": tuple(range(1, 18)),
    "brow1": (18, 19, 20, 21, 22),
    "brow2": (23, 24, 25, 26, 27),
}

# Class and curves of every outline in painting order (later wins); a minus sign
# means that the curve is run backwards.
_OUTLINES = (
    (1, ("face_edge", "-brow2", "-brow1")),
    (2, ("left_eye_up", "left_eye_down")),
    (2, ("right_eye_up", "right_eye_down")),
    (3, ("out_lip_up1", "out_lip_up2", "out_lip_down")),
    (4, ("inner_lip_up", "inner_lip_down")),
)
_STEPS = 100  # curve points per landmark interval: parameter step 0.01


def outlines(points: np.ndarray) -> dict[str, np.ndarray]:
    """Return the twelve named curves through landmarks [68, 2], float64 [n, 2] each.

    Not-a-knot cubic splines over the landmark's place in the list, in steps of 0.01;
    a curve through m landmarks has n = 100 (m - 1) + 1 points.
    """
    points = np.asarray(points, np.float64)
    return {
        name: _spline_basis(len(numbers)) @ points[np.array(numbers) - 1]
        for name, numbers in CURVES.items()
    }


def label_map(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the classes of a frame with landmarks [68, 2], uint8 [height, width].

    For a crop whose first column and row are x1 and y1 (1-based), pass
    `points - (x1 - 1, y1 - 1)` and the size of the crop.
    """
    curves = outlines(points)
    labels = np.zeros((height, width), np.uint8)
    for label, names in _OUTLINES:
        outline = np.concatenate(
            [curves[name.lstrip("-")][:: -1 if name[0] == "-" else 1] for name in names]
        )
        fill(labels, outline, label)
    return labels


def fill(labels: np.ndarray, outline: np.ndarray, label: int) -> None:
    """Set to `label` the pixels of labels [H, W] whose centres lie in a polygon.

    outline [n, 2] is closed from its last point to its first. A centre is inside when
    a ray from it crosses the outline an odd number of times, or when it lies on the
    outline (Octave `inpolygon`, which stands in for `roipoly` of the scripts).
    """
    window = _window(outline, *labels.shape)
    if window is None:
        return
    top, left, rows, columns = window
    x, y = outline[:, 0] - left, outline[:, 1] - top  # centres of the window at 0, 1..
    row, crossing = _crossings(x, y, rows)
    # A crossing flips every pixel to its right; the one past the last column flips
    # nothing, and one before the first flips the whole row.
    column = np.clip(np.ceil(crossing), 0, columns).astype(np.int64)
    flips = np.bincount(
        row * (columns + 1) + column, minlength=rows * (columns + 1)
    ).reshape(rows, columns + 1)
    inside = (np.cumsum(flips[:, :columns], axis=1) & 1).astype(bool)
    _add_boundary(inside, x, y, row, crossing)
    view = labels[top - 1 : top - 1 + rows, left - 1 : left - 1 + columns]
    view[inside] = label


@functools.cache
def _spline_basis(count: int) -> np.ndarray:
    # A spline is linear in its points, so one matrix serves every face.
    parameter = 1 + np.arange(_STEPS * (count - 1) + 1) / _STEPS
    places = np.arange(1, count + 1)
    return interpolate.CubicSpline(places, np.eye(count))(parameter)


def _window(
    outline: np.ndarray, height: int, width: int
) -> tuple[int, int, int, int] | None:
    left, top = np.maximum(np.ceil(outline.min(axis=0)), 1).astype(int)
    right, bottom = np.floor(outline.max(axis=0))
    rows = int(min(bottom, height)) - top + 1
    columns = int(min(right, width)) - left + 1
    return (top, left, rows, columns) if rows > 0 and columns > 0 else None


def _crossings(
    x: np.ndarray, y: np.ndarray, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    # An edge crosses the rows from its lower end, included, to its upper end, not
    # included; most edges are far shorter than a pixel and cross none.
    level = np.clip(np.ceil(y), 0, rows).astype(np.int64)
    following = np.append(level[1:], level[0])
    edge = np.flatnonzero(level != following)
    first = np.minimum(level[edge], following[edge])
    count = np.maximum(level[edge], following[edge]) - first
    row = np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)
    edge = np.repeat(edge, count)
    end = (edge + 1) % len(x)
    slope = (x[end] - x[edge]) / (y[end] - y[edge])
    return row, x[edge] + (row - y[edge]) * slope


def _add_boundary(
    inside: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    row: np.ndarray,
    crossing: np.ndarray,
) -> None:
    # Crossings hold the centres on a left boundary and shut out those on a right one;
    # level edges and corners are not among them.
    _mark(inside, row, crossing)
    whole = np.flatnonzero(y == np.floor(y))
    if not len(whole):
        return
    _mark(inside, y[whole], x[whole])
    end = (whole + 1) % len(x)
    level = y[whole] == y[end]
    for start, stop in zip(whole[level], end[level], strict=True):
        between = np.arange(
            max(np.ceil(min(x[start], x[stop])), 0),
            min(np.floor(max(x[start], x[stop])) + 1, inside.shape[1]),
        )
        _mark(inside, np.full(len(between), y[start]), between)


def _mark(inside: np.ndarray, row: np.ndarray, x: np.ndarray) -> None:
    rows, columns = inside.shape
    on = (x == np.floor(x)) & (x >= 0) & (x < columns) & (row >= 0) & (row < rows)
    if on.any():
        inside[row[on].astype(np.int64), x[on].astype(np.int64)] = True
