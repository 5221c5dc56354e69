"""The head as a star-shaped surface: distance from its centre by direction.

Directions live on a square map by Lambert's azimuthal equal-area projection about the
front of the face, so that radius, normals and colour are plain images and a frame is one
small ray search followed by image look-ups.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

EXTENT = 1.95
_CELLS = 72
_HALF = 1.75
_DEPTHS = np.linspace(1.5, -0.75, 22).astype(np.float32)


class View(NamedTuple):
    """Hold one look at the surface on a grid of cells, each field [_CELLS, _CELLS].

    `inside` is positive where a ray meets the head; `maps` [.., 2] are the coordinates
    of the meeting point on the direction map, in texels.
    """

    inside: np.ndarray
    maps: np.ndarray


def directions(size: int) -> np.ndarray:
    """Return the unit direction of every texel of a map, [size, size, 3] float32."""
    line = np.linspace(-EXTENT, EXTENT, size, dtype=np.float32)
    u, v = np.meshgrid(line, line)
    square = np.minimum(u * u + v * v, 3.99)
    scale = np.sqrt(1 - square / 4)
    out = np.stack([u * scale, v * scale, 1 - square / 2], -1)
    return out / np.linalg.norm(out, axis=-1, keepdims=True)


def texel(points: np.ndarray, size: int) -> np.ndarray:
    """Return the place on a map of `size` texels of points [..., 3], as [..., 2]."""
    length = np.linalg.norm(points, axis=-1)
    scale = np.sqrt(2 / (length * (length + points[..., 2]) + 1e-6))
    return (points[..., :2] * scale[..., None] / EXTENT * 0.5 + 0.5) * (size - 1)


def fit_radius(points: np.ndarray, size: int) -> np.ndarray:
    """Return the radius map [size, size] of a smooth surface through points [N, 3]."""
    length = np.linalg.norm(points, axis=1)
    unit = (points / length[:, None]).astype(np.float32)
    system = _kernel(unit @ unit.T) + 1e-3 * np.eye(len(unit), dtype=np.float32)
    weights = np.linalg.solve(system.astype(np.float64), length - 1.0)
    coarse = min(size, 144)
    field = _kernel(directions(coarse).reshape(-1, 3) @ unit.T) @ weights + 1.0
    field = field.reshape(coarse, coarse).astype(np.float32)
    return _align(field, size)


def surface_points(radius: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Return the surface points [..., 3] in the directions `unit` [..., 3]."""
    place = texel(unit, len(radius)).astype(np.float32).reshape(-1, 1, 2)
    length = cv2.remap(radius, place, None, cv2.INTER_LINEAR)
    return unit * length.reshape(unit.shape[:-1])[..., None]


def normals(radius: np.ndarray) -> np.ndarray:
    """Return the outward unit normals [size, size, 3] of a radius map."""
    points = directions(len(radius)) * radius[..., None]
    right = np.gradient(points, axis=1)
    down = np.gradient(points, axis=0)
    normal = np.cross(right, down)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    return cv2.GaussianBlur(normal.astype(np.float32), (0, 0), len(radius) / 256)


def look(radius: np.ndarray, rotation: np.ndarray) -> View:
    """Find where parallel rays along z meet the surface turned by `rotation` [3, 3]."""
    size = len(radius)
    shape = (len(_DEPTHS), _CELLS * _CELLS)
    place = np.empty((3, *shape), np.float32)
    for axis in range(3):
        flat = rotation[0, axis] * _PLANE[0] + rotation[1, axis] * _PLANE[1]
        depth = (rotation[2, axis] * _DEPTHS)[:, None]
        np.add(flat.astype(np.float32), depth.astype(np.float32), out=place[axis])
    scale = place[2]
    scale += _LENGTH
    scale *= _LENGTH
    np.maximum(scale, 1e-4, out=scale)
    np.divide(2 * (0.5 * (size - 1) / EXTENT) ** 2, scale, out=scale)
    np.sqrt(scale, out=scale)
    maps = place[:2]
    maps *= scale
    maps += 0.5 * (size - 1)
    gap = cv2.remap(radius, maps[0], maps[1], cv2.INTER_LINEAR) - _LENGTH
    return _first(gap, maps)


def view_matrix(centre: tuple[float, float], scale: float) -> np.ndarray:
    """Return the 2x3 matrix from a View's cells to pixels, for a head so placed."""
    step = 2 * _HALF / (_CELLS - 1) * scale
    corner = -_HALF * scale
    return np.array([[step, 0, centre[0] + corner], [0, step, centre[1] + corner]])


def _first(gap: np.ndarray, maps: np.ndarray) -> View:
    inside = gap.max(axis=0)
    hit = np.where(inside > 0, (gap > 0).argmax(axis=0), gap.argmax(axis=0))
    before = np.maximum(hit - 1, 0)
    cells = np.arange(hit.size)
    near, far = gap[before, cells], gap[hit, cells]
    share = np.clip(far / (far - near + 1e-9), 0, 1)
    share = np.where((inside > 0) & (hit > 0), share, 0).astype(np.float32)
    found = maps[:, hit, cells]
    found += share * (maps[:, before, cells] - found)
    shape = (_CELLS, _CELLS)
    return View(inside.reshape(shape), found.T.reshape(*shape, 2))


def _kernel(cosine: np.ndarray) -> np.ndarray:
    return -np.sqrt(np.maximum(2 - 2 * cosine, 0) + 0.012)


def _align(field: np.ndarray, size: int) -> np.ndarray:
    # cv2.resize aligns pixel areas; the maps align the corners.
    old = len(field)
    if old == size:
        return field
    line = (np.linspace(0, old - 1, size)).astype(np.float32)
    x, y = np.meshgrid(line, line)
    return cv2.remap(field, x, y, cv2.INTER_CUBIC)


def _plane() -> tuple[np.ndarray, np.ndarray]:
    line = np.linspace(-_HALF, _HALF, _CELLS, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    plane = np.stack([x.ravel(), y.ravel()])
    length = np.sqrt((plane**2).sum(0) + _DEPTHS[:, None] ** 2)
    return plane, length.astype(np.float32)


_PLANE, _LENGTH = _plane()


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return the matrix [3, 3] of a pose in radians (nose right, down; clockwise)."""
    cy, sy = math.cos(yaw), math.sin(yaw)
    cp, sp = math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return tilt @ nod @ turn
