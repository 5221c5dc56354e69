"""The 68 iBUG landmarks in three dimensions, their identity and their expression.

Head units: half the width of a mean face is 1; x goes right in the image, y down and z
towards the viewer; the origin lies between the ears, a little below the eyes. The mean
shape is this project's own sketch of a head, made to look right, not measured.
"""

from typing import NamedTuple

import numpy as np

LANDMARKS = 68


class Shape(NamedTuple):
    """Hold the points of one person: 68 landmarks, then controls of the skull."""

    points: np.ndarray

    @property
    def landmarks(self) -> np.ndarray:
        """Return the landmarks at rest, [68, 3]."""
        return self.points[:LANDMARKS]


def sample_shape(rng: np.random.Generator) -> Shape:
    """Sample the shape of one person."""
    points = _MEAN.copy()
    x, y, z = points.T
    n = rng.normal
    mouth, nose, brow = slice(48, 68), slice(27, 36), slice(17, 27)
    line = _MEAN[60, 1]
    y[mouth] = line + (y[mouth] - line) * np.clip(1.0 + n(0, 0.22), 0.65, 1.5)
    y[[60, 61, 62, 63, 64, 65, 66, 67]] = _MEAN[60:68, 1]
    x[mouth] *= np.clip(1 + n(0, 0.09), 0.8, 1.2)
    nose_all = np.r_[27:36, _NOSE]
    x[nose_all] *= np.clip(1 + n(0, 0.14), 0.72, 1.35)
    z[nose_all] = 0.8 + (z[nose_all] - 0.8) * np.clip(1 + n(0, 0.22), 0.6, 1.5)
    y[nose] += (y[nose] + 0.22) * np.clip(n(0, 0.07), -0.14, 0.12)
    tall, wide = np.clip(1 + n(0, 0.16), 0.72, 1.4), 1 + n(0, 0.04)
    for eye in (slice(36, 42), slice(42, 48)):
        centre = points[eye].mean(0)
        y[eye] = centre[1] + (y[eye] - centre[1]) * tall * (1 + n(0, 0.04))
        x[eye] = centre[0] * (1 + n(0, 0.01)) + (x[eye] - centre[0]) * wide
    apart, tilt = n(0, 0.035), n(0, 0.03)
    x[36:48] += np.sign(x[36:48]) * apart
    y[36:48] -= (np.abs(x[36:48]) - 0.42) * tilt * 2
    arch = np.clip(n(0.1, 0.25), -0.5, 0.7) * np.array([-0.02, 0.02, 0.05, 0.03, -0.04])
    y[brow] += n(0, 0.025) - np.r_[arch[::-1], arch]
    width, jaw, long, tall = n(0, 0.05), n(0.02, 0.07), n(0, 0.05), n(0, 0.05)
    lower = smooth_step(y, 0.1, 1.2)
    x *= (1 + width) * (1 - np.clip(jaw, -0.1, 0.16) * lower)
    y[:] = np.where(y > 0, y * (1 + long), y)
    y[:] = np.where(y < -0.6, -0.6 + (y + 0.6) * (1 + tall), y)
    z[_CHEEK] += n(0, 0.03)
    points[:LANDMARKS] += rng.normal(0, 0.006, (LANDMARKS, 3))
    return Shape(points)


def express(
    shape: Shape, mouth=0.0, eyes=0.0, brow=0.0, smile=0.0, talk_width=0.0
) -> np.ndarray:
    """Return the moved points [N, 3] for mouth and lids in 0..1, brow and smile."""
    points = shape.points.copy()
    x, y, z = points.T
    drop = jaw_weight(shape.points)
    drop[48:68] = 0.0
    y += 0.34 * mouth * drop
    z -= 0.10 * mouth * drop
    _move_lips(points, mouth, smile, talk_width)
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        opening = points[upper] - points[lower]
        points[lower] += 0.12 * eyes * opening
        points[upper] -= 0.80 * eyes * opening
    y[17:27] -= 0.06 * brow
    y[[20, 21, 22, 23]] -= 0.02 * brow
    y[17:27] += 0.02 * eyes
    return points


def jaw_weight(points: np.ndarray) -> np.ndarray:
    """Return how much each point [N, 3] follows the jaw, [N] in 0..1."""
    front = np.clip((points[:, 2] + 0.3) / 0.6, 0, 1)
    return smooth_step(points[:, 1], 0.45, 1.05) * front


def smooth_step(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 0 below `low`, 1 above `high` and a smooth rise between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _move_lips(points: np.ndarray, mouth: float, smile: float, width: float) -> None:
    lips = points[48:68]
    middle = lips[:, 0].mean()
    lips[:, 0] = middle + (lips[:, 0] - middle) * (
        1 - 0.10 * mouth + 0.10 * smile + 0.12 * width
    )
    lips[:, 1] += mouth * _LIP_DROP
    corner = (np.abs(_MEAN[48:68, 0]) / 0.37) ** 2
    lips[:, 1] -= 0.06 * smile * (corner - 0.25)
    lips[:, 2] -= 0.05 * smile * corner + 0.04 * mouth * np.maximum(_LIP_DROP, 0) / 0.3


_LIP_DROP = np.array(
    [0.09, -0.01, -0.035, -0.035, -0.035, -0.01, 0.09]
    + [0.24, 0.30, 0.31, 0.30, 0.24]
    + [0.09, -0.03, -0.035, -0.03, 0.09, 0.30, 0.31, 0.30]
)

# Right half of the image; the left half is its mirror.
_JAW = [
    (0.97, -0.24, -0.22),
    (0.97, 0.05, -0.20),
    (0.94, 0.33, -0.12),
    (0.87, 0.60, 0.00),
    (0.74, 0.83, 0.18),
    (0.56, 1.00, 0.40),
    (0.37, 1.11, 0.58),
    (0.18, 1.18, 0.70),
]
_BROW = [
    (0.17, -0.40, 0.89),
    (0.33, -0.48, 0.88),
    (0.50, -0.50, 0.80),
    (0.66, -0.45, 0.66),
    (0.79, -0.32, 0.46),
]
_RIDGE = [(0, -0.20, 0.87), (0, -0.03, 0.97), (0, 0.15, 1.08), (0, 0.32, 1.19)]
_EYE = [
    (0.23, -0.175, 0.77),
    (0.35, -0.285, 0.81),
    (0.49, -0.28, 0.77),
    (0.61, -0.165, 0.66),
    (0.49, -0.115, 0.75),
    (0.35, -0.11, 0.79),
]
_LIPS_OUTER = [(0.37, 0.765, 0.74), (0.21, 0.70, 0.87), (0.075, 0.66, 0.94)]
_LIPS_LOWER = [(0.23, 0.87, 0.84), (0.10, 0.915, 0.89)]


def _mirror(points) -> np.ndarray:
    return np.asarray(points, float) * (-1, 1, 1)


def _mean_landmarks() -> np.ndarray:
    outer, lower = np.array(_LIPS_OUTER), np.array(_LIPS_LOWER)
    inner = np.array([(0.30, 0.766, 0.78), (0.10, 0.75, 0.90)])
    base = np.array([(0.21, 0.43, 0.86), (0.10, 0.47, 0.95)])
    eye = np.array(_EYE)
    rows = [
        _mirror(_JAW),
        [(0, 1.20, 0.74)],
        _JAW[::-1],
        _mirror(_BROW)[::-1],
        _BROW,
        _RIDGE,
        [*_mirror(base), (0, 0.49, 1.0), *base[::-1]],
        _mirror(eye)[[3, 2, 1, 0, 5, 4]],
        eye,
        [*_mirror(outer), (0, 0.68, 0.95), *outer[::-1]],
        [*lower, (0, 0.925, 0.90), *_mirror(lower)[::-1]],
        [*_mirror(inner), (0, 0.755, 0.91), *inner[::-1]],
        [(0.10, 0.775, 0.89), (0, 0.78, 0.90), (-0.10, 0.775, 0.89)],
    ]
    return np.concatenate([np.asarray(row, float) for row in rows])


_NOSE_SIDE = [(0.13, 0.02, 0.82), (0.17, 0.20, 0.86), (0.22, 0.36, 0.87)]
_CHEEK_SIDE = [(0.62, 0.10, 0.68), (0.78, 0.08, 0.46), (0.46, 0.36, 0.78)]
_SIDE = [
    (0.32, -0.34, 0.83),
    (0.56, -0.36, 0.74),
    (0.62, 0.50, 0.55),
    (0.84, 0.36, 0.22),
    (0.48, 0.70, 0.70),
    (0.30, 1.00, 0.78),
    (0.40, -0.85, 0.80),
    (0.78, -0.72, 0.42),
    (0.93, -0.50, 0.08),
    (0.45, -1.13, 0.44),
    (0.85, -0.93, 0.00),
    (0.55, -1.22, -0.20),
    (0.97, -0.50, -0.50),
    (0.65, -0.60, -1.00),
    (0.75, 0.30, -0.70),
    (0.50, 0.80, -0.25),
    (0.62, 0.92, 0.10),
    (0.35, 1.08, 0.30),
]
_MIDDLE = [
    (0, 0.58, 0.92),
    (0, 0.985, 0.86),
    (0, 1.09, 0.86),
    (0, -0.45, 0.90),
    (0, -0.85, 0.88),
    (0, -1.17, 0.60),
    (0, -1.34, 0.10),
    (0, -1.30, -0.50),
    (0, -0.60, -1.20),
    (0, 0.30, -0.90),
    (0, 0.90, -0.30),
    (0, 1.12, 0.30),
]
_NOSE = np.arange(68, 74)
_CHEEK = np.arange(74, 80)
_MEAN = np.concatenate(
    [_mean_landmarks(), _mirror(_NOSE_SIDE), _NOSE_SIDE]
    + [_mirror(_CHEEK_SIDE), _CHEEK_SIDE, _mirror(_SIDE), _SIDE, _MIDDLE]
)
