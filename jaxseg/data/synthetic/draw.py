"""Drawing of the parts that the labels name, from the very curves of the labels.

Points are in canvas pixels (pixel centres at integers). A curve through n landmarks is
the not-a-knot cubic spline over the parameter 1..n, as the masks of 300VW-Mask are made
(do_segmentation.m), here as a product with a fixed matrix.
"""

import functools

import numpy as np

from jaxseg.data.opencv import cv2

_SHIFT = 4
_BITS = 1 << _SHIFT

EYES = (((36, 37, 38, 39), (39, 40, 41, 36)), ((42, 43, 44, 45), (45, 46, 47, 42)))
OUTER_MOUTH = ((48, 49, 50, 51), (51, 52, 53, 54), (54, 55, 56, 57, 58, 59, 48))
INNER_MOUTH = ((60, 61, 62, 63, 64), (64, 65, 66, 67, 60))


@functools.lru_cache
def spline_matrix(count: int, samples: int) -> np.ndarray:
    """Return the matrix [samples, count] of a spline through `count` points."""
    knots = np.arange(count, dtype=float)
    powers = np.arange(4)
    inner = np.arange(2, count - 2)
    at = np.linspace(0, count - 1, samples)

    def basis(x):
        # Truncated powers without the second and the last but one knot: not-a-knot.
        bend = np.maximum(x[:, None] - knots[inner], 0) ** 3
        return np.concatenate([x[:, None] ** powers, bend], 1)

    return basis(at) @ np.linalg.inv(basis(knots))


def curve(points: np.ndarray, parts: tuple, samples: int = 9) -> np.ndarray:
    """Return the closed outline [M, 2] of splines through the landmarks `parts`."""
    return np.concatenate(
        [spline_matrix(len(part), samples) @ points[list(part)] for part in parts]
    )


def fill(canvas: np.ndarray, outline: np.ndarray, colour) -> None:
    """Fill a polygon [M, 2] in place."""
    cv2.fillPoly(canvas, [_fixed(outline)], _colour(colour), cv2.LINE_8, _SHIFT)


def stroke(canvas, points, colour, width: float, closed=False) -> None:
    """Draw a line through points [M, 2] in place."""
    width = max(1, int(round(width)))
    line = cv2.LINE_AA if width < 4 else cv2.LINE_8
    cv2.polylines(
        canvas, [_fixed(points)], closed, _colour(colour), width, line, _SHIFT
    )


def disc(canvas, centre, radius: float, colour) -> None:
    """Fill a circle in place."""
    x, y = (int(round(v * _BITS)) for v in centre)
    size = max(1, int(round(radius * _BITS)))
    cv2.circle(canvas, (x, y), size, _colour(colour), -1, cv2.LINE_AA, _SHIFT)


class Inside:
    """Restrict drawing to an outline: draw on `.canvas`, shifted by `.corner`."""

    def __init__(self, canvas: np.ndarray, outline: np.ndarray):
        low = np.floor(outline.min(0)).astype(int) - 1
        high = np.ceil(outline.max(0)).astype(int) + 2
        low = np.clip(low, 0, (canvas.shape[1] - 1, canvas.shape[0] - 1))
        high = np.clip(high, low + 1, (canvas.shape[1], canvas.shape[0]))
        self.corner = low
        self._window = canvas[low[1] : high[1], low[0] : high[0]]
        self.canvas = self._window.copy()
        self._mask = np.zeros(self.canvas.shape[:2], np.uint8)
        fill(self._mask, outline - low, 255)

    def __enter__(self) -> "Inside":
        return self

    def __exit__(self, *error) -> None:
        cv2.copyTo(self.canvas, self._mask, self._window)


def brow(canvas, points, look, unit: float) -> None:
    """Draw one eyebrow along its five landmarks [5, 2]."""
    line = spline_matrix(5, 9) @ points
    along = np.linspace(0, 1, 9)
    shape = 0.35 + 0.65 * np.sin(np.pi * (0.2 + 0.6 * along))
    taper = look.brow_thickness * unit * shape
    for share, colour in ((1.0, 0.5 * look.brows + 0.4 * look.skin), (0.7, look.brows)):
        lower = line + np.stack([0 * taper, (0.35 + 0.7 * share) * taper], 1)
        upper = line + np.stack([0 * taper, (0.35 - 0.7 * share) * taper], 1)
        fill(canvas, np.concatenate([upper, lower[::-1]]), colour)


def eye(canvas, points, parts, look, unit: float, gaze, closed: float, turn) -> None:
    """Draw one eye: white, iris, pupil, lashes and the fold of the lid."""
    outline = curve(points, parts)
    upper, lower = outline[:9], outline[9:]
    width = np.linalg.norm(points[parts[0][0]] - points[parts[0][-1]])
    centre = points[list(parts[0][:1] + parts[0][-1:])].mean(0)
    centre = centre + width * np.array([0.17 * gaze[0], 0.14 * gaze[1] - 0.10])
    centre = centre + width * 0.10 * np.asarray(turn)
    with Inside(canvas, outline) as patch:
        shift = patch.corner
        patch.canvas[:] = _colour((246, 242, 238))
        radius = 0.132 * unit
        disc(patch.canvas, centre - shift, radius, 0.4 * look.iris)
        disc(patch.canvas, centre - shift, 0.84 * radius, look.iris)
        disc(patch.canvas, centre - shift, 0.42 * radius, (12, 10, 12))
        glint = centre - shift + radius * np.array([-0.35, -0.35])
        disc(patch.canvas, glint, 0.17 * radius, (255, 255, 255))
        stroke(patch.canvas, upper - shift, (178, 160, 154), 0.04 * unit)
    lash = (
        (0.22 + 0.1 * (1 - look.makeup)) * look.skin
        if look.makeup < 0.3
        else (22, 16, 18)
    )
    stroke(canvas, upper, lash, (0.026 + 0.016 * look.makeup) * unit)
    stroke(canvas, lower, 0.68 * look.skin, 0.012 * unit)
    fold = upper.copy()
    fold[:, 1] -= (0.06 - 0.02 * closed) * unit
    stroke(canvas, fold[1:-1], 0.74 * look.skin, 0.014 * unit)


def mouth(canvas, points, look, unit: float) -> None:
    """Draw lips, and inside them the dark, teeth and tongue."""
    outer = curve(points, OUTER_MOUTH)
    inner = curve(points, INNER_MOUTH, 11)
    with Inside(canvas, outer) as patch:
        shift = patch.corner
        patch.canvas[:] = _colour(look.lips)
        upper = np.concatenate([outer[:18], inner[:11][::-1]]) - shift
        fill(patch.canvas, upper, 0.86 * look.lips)
        shine = 0.45 * points[[58, 57, 56]] + 0.55 * points[[67, 66, 65]]
        stroke(patch.canvas, shine - shift, 0.8 * look.lips + 44, 0.05 * unit)
    with Inside(canvas, inner) as patch:
        shift = patch.corner
        patch.canvas[:] = (46, 14, 18)
        gap = points[66] - points[62]
        tongue = points[66] + 0.02 * gap
        axes = (0.2 * unit, 0.10 * unit)
        _ellipse(patch.canvas, tongue - shift, axes, (150, 62, 66))
        teeth = inner[:11] + np.stack([np.zeros(11), 0.085 * unit * _ARC], 1)
        fill(
            patch.canvas,
            np.concatenate([inner[:11], teeth[::-1]]) - shift,
            (226, 220, 208),
        )
    stroke(canvas, inner[:11], 0.45 * look.lips, 0.014 * unit)


def glasses(canvas, frames, temple, look, unit: float) -> None:
    """Draw two rims [2, M, 2], the bridge between them and the near temple [2, 2]."""
    width = (0.05 if look.glasses == "square" else 0.032) * unit
    for rim in frames:
        stroke(canvas, rim, look.glasses_colour, width, closed=True)
    bridge = np.stack([frames[0][_BRIDGE[0]], frames[1][_BRIDGE[1]]])
    stroke(canvas, bridge, look.glasses_colour, width)
    if temple is not None:
        stroke(canvas, temple, look.glasses_colour, width)


def _ellipse(canvas, centre, axes, colour) -> None:
    x, y = (int(round(v * _BITS)) for v in centre)
    a, b = (max(1, int(round(v * _BITS))) for v in axes)
    cv2.ellipse(
        canvas, (x, y), (a, b), 0, 0, 360, _colour(colour), -1, cv2.LINE_8, _SHIFT
    )


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points * _BITS).astype(np.int32)


def _colour(colour) -> tuple[float, ...]:
    if np.ndim(colour) == 0:
        return (int(colour),)
    return tuple(float(min(255, max(0, value))) for value in colour)


_ARC = np.sin(np.linspace(0.12, np.pi - 0.12, 11)) ** 0.5
_BRIDGE = (0, 12)
