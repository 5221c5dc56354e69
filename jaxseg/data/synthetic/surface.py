"""The head as a star-shaped surface: distance from its centre by direction.

Directions live on a square map by Lambert's azimuthal equal-area projection about the
front of the face, so that radius, normals and colour are plain images and a frame is
one small ray search followed by image look-ups.
"""

import math
from typing import NamedTuple

import numpy as np

from jaxseg.data.opencv import cv2

EXTENT = 1.95
_HALF = 1.9
_DEPTHS = np.linspace(1.5, -0.7, 19).astype(np.float32)


class View(NamedTuple):
    """Hold one look at the surface, in a square window of [S, S] pixels.

    `inside` [S, S] is positive where a ray meets the head, `maps` [S, S, 2] are the
    coordinates of the meeting point on the direction map in texels, `corner` the pixel
    (x, y) of the top-left of the window.
    """

    inside: np.ndarray
    maps: np.ndarray
    corner: tuple[int, int]


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
    system = _kernel(unit @ unit.T).astype(np.float64) + 1e-3 * np.eye(len(unit))
    # OpenCV's solver gives the same bits however many threads NumPy's would take.
    weights = cv2.solve(system, length[:, None] - 1.0, flags=cv2.DECOMP_LU)[1]
    weights = weights[:, 0].astype(np.float32)
    coarse = min(size, 112)
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


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return the matrix [3, 3] of a pose in radians (nose right, down; clockwise)."""
    cy, sy = math.cos(yaw), math.sin(yaw)
    cp, sp = math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return tilt @ nod @ turn


def look(radius: np.ndarray, rotation: np.ndarray, centre, scale: float) -> View:
    """Find where parallel rays along z meet the surface turned by `rotation` [3, 3].

    The head's origin is at `centre` (x, y), its unit is `scale` pixels. Rays are cast
    on a coarse grid and their meeting points interpolated.
    """
    step = max(1, round(scale / 15))
    cells = math.ceil(2 * _HALF * scale / step)
    corner = np.floor(np.asarray(centre) - cells * step / 2).astype(int)
    line = (np.arange(cells) + 0.5) * step - 0.5
    x = ((line + corner[0] - centre[0]) / scale).astype(np.float32)
    y = ((line + corner[1] - centre[1]) / scale).astype(np.float32)
    plane = np.stack([np.tile(x, cells), np.repeat(y, cells)])
    gap, maps = _gaps(radius, rotation, plane)
    inside, found = _first(gap, maps)
    size = (cells * step, cells * step)
    inside = cv2.resize(inside.reshape(cells, cells), size)
    found = cv2.resize(found.T.reshape(cells, cells, 2), size)
    return View(inside, found, (int(corner[0]), int(corner[1])))


def _gaps(radius, rotation, plane) -> tuple[np.ndarray, np.ndarray]:
    size = len(radius)
    length = np.sqrt((plane**2).sum(0) + _DEPTHS[:, None] ** 2)
    place = np.empty((3, *length.shape), np.float32)
    for axis in range(3):
        flat = rotation[0, axis] * plane[0] + rotation[1, axis] * plane[1]
        depth = (rotation[2, axis] * _DEPTHS)[:, None]
        np.add(flat.astype(np.float32), depth.astype(np.float32), out=place[axis])
    scale = place[2]
    scale += length
    scale *= length
    np.maximum(scale, 1e-4, out=scale)
    np.divide(2 * (0.5 * (size - 1) / EXTENT) ** 2, scale, out=scale)
    np.sqrt(scale, out=scale)
    maps = place[:2]
    maps *= scale
    maps += 0.5 * (size - 1)
    return cv2.remap(radius, maps[0], maps[1], cv2.INTER_LINEAR) - length, maps


def _first(gap: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = gap.max(axis=0)
    # The cap makes all positive values equal, so argmax stops at the first of them.
    hit = np.minimum(gap, 1e-5).argmax(axis=0)
    before = np.maximum(hit - 1, 0)
    cells = np.arange(hit.size)
    near, far = gap[before, cells], gap[hit, cells]
    share = np.clip(far / (far - near + 1e-9), 0, 1)
    share = np.where((inside > 0) & (hit > 0), share, 0).astype(np.float32)
    found = maps[:, hit, cells]
    found += share * (maps[:, before, cells] - found)
    return inside, found


def _kernel(cosine: np.ndarray) -> np.ndarray:
    square = np.maximum(2.012 - 2 * cosine, 0.012, dtype=np.float32)
    return np.negative(np.sqrt(square, out=square), out=square)


def _align(field: np.ndarray, size: int) -> np.ndarray:
    # cv2.resize aligns pixel areas; the maps align the corners.
    old = len(field)
    if old == size:
        return field
    line = (np.linspace(0, old - 1, size)).astype(np.float32)
    x, y = np.meshgrid(line, line)
    return cv2.remap(field, x, y, cv2.INTER_CUBIC)
