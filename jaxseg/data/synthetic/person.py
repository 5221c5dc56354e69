"""One identity: shape, skin, hair and dress, painted once on the direction map."""

from typing import NamedTuple

import numpy as np

from jaxseg.data.opencv import cv2
from jaxseg.data.synthetic import face, looks, surface


class Person(NamedTuple):
    """Hold one person: maps are [N, N] on the direction map, closed and open mouth."""

    shape: face.Shape
    look: looks.Look
    radius: tuple[np.ndarray, np.ndarray]
    normals: tuple[np.ndarray, np.ndarray]
    albedo: np.ndarray
    dark: np.ndarray
    jaw_paths: tuple[np.ndarray, np.ndarray]


def sample_person(rng: np.random.Generator, size: int) -> Person:
    """Sample one person with direction maps of `size` texels a side."""
    shape = face.sample_shape(rng)
    look = looks.sample_look(rng)
    unit = surface.directions(size)
    skins = [
        surface.fit_radius(face.express(shape, mouth=mouth), size)
        for mouth in (0.0, 1.0)
    ]
    paths = tuple(_jaw_paths(shape, skin) for skin in skins)
    ears = 0.17 * _ears(unit)
    hair, grown = _hair(rng, unit, skins[0], look.style)
    radius = tuple(
        (skin + np.maximum(grown, ears)).astype(np.float32) for skin in skins
    )
    albedo, dark = _paint(rng, unit, skins[0], shape, look)
    strands = _strands(rng, unit, look)
    mask = hair[..., None]
    albedo = albedo + mask * (strands - albedo)
    dark = dark + hair * (1 - dark)
    return Person(
        shape=shape,
        look=look,
        radius=radius,
        normals=tuple(surface.normals(item) for item in radius),
        albedo=np.clip(albedo, 0, 255).astype(np.uint8),
        dark=(255 * np.clip(dark, 0, 1)).astype(np.uint8),
        jaw_paths=paths,
    )


def blob(unit: np.ndarray, point, sigma: float) -> np.ndarray:
    """Return a bell about the direction of `point` over directions [..., 3]."""
    point = np.asarray(point, np.float32)
    cosine = unit @ (point / np.linalg.norm(point))
    return np.exp((cosine - 1) / (sigma * sigma))


def _jaw_paths(shape: face.Shape, radius: np.ndarray) -> np.ndarray:
    # On the far side the annotated jaw is the outline: search it along these lines.
    start = shape.landmarks[:17]
    goal = np.stack(
        [0.2 * start[:, 0], 0.72 * start[:, 1] + 0.1, 0.9 + 0 * start[:, 0]]
    )
    share = np.linspace(0, 0.8, 28)[None, :, None]
    a = start / np.linalg.norm(start, axis=1, keepdims=True)
    b = goal.T / np.linalg.norm(goal.T, axis=1, keepdims=True)
    unit = a[:, None] * (1 - share) + b[:, None] * share
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    return surface.surface_points(radius, unit)


def _ears(unit: np.ndarray) -> np.ndarray:
    out = 0
    for side in (-1, 1):
        centre = np.array([side * 0.95, 0.02, -0.30])
        centre /= np.linalg.norm(centre)
        up = np.array([side * 0.05, -1, -0.22])
        up -= centre * (up @ centre)
        up /= np.linalg.norm(up)
        across = np.cross(centre, up)
        v, w = unit @ up, unit @ across
        wide = 0.145 + 0.045 * v
        distance = np.sqrt((v / 0.27) ** 2 + (w / wide) ** 2)
        bump = face.smooth_step(-distance, -1.1, -0.8)
        bump = bump * (1 - 0.5 * face.smooth_step(-distance, -0.75, -0.3))
        out = out + bump * (unit @ centre > 0.7)
    return out


def _hairline(style: str, turn: float, azimuth: np.ndarray) -> np.ndarray:
    # The parting turns the front of the line only.
    angle = np.abs(azimuth - turn * np.clip(1.6 - np.abs(azimuth) / 55, 0, 1))
    front = {"fringe": -0.6, "bob": -0.78, "beanie": -0.62, "receding": -1.12}
    top = front.get(style, -0.9)
    knots = [0, 30, 52, 68, 80, 90, 112, 126, 180]
    rows = [top, top - 0.02, top + 0.1, -0.55, -0.12, -0.3, -0.28, 0.5, 0.75]
    if style in ("bob", "long"):
        # Behind the annotated cheek, so that the hair hides little of it.
        knots[4:7] = [82, 93, 103]
        rows[4:] = [-0.3, 0.15, 0.85, 0.9, 0.9]
    if style == "receding":
        rows[1:4] = [-1.2, -1.25, -0.75]
    if style == "beanie":
        rows = [-0.62, -0.62, -0.6, -0.55, -0.5, -0.45, -0.35, -0.3, -0.2]
    return np.interp(angle, knots, rows)


def _hair(rng, unit, skin, style: str) -> tuple[np.ndarray, np.ndarray]:
    if style == "bald":
        return np.zeros(skin.shape), np.zeros(skin.shape)
    azimuth = np.degrees(np.arctan2(unit[..., 0], unit[..., 2]))
    height = unit[..., 1] * skin
    turn = rng.normal(0, 12)
    jag = 0.035 * _noise(rng, len(skin), 24)
    line = _hairline(style, turn, azimuth)
    slope = (_hairline(style, turn, azimuth + 1) - line) / np.radians(1)
    # Divided by its slope the height above the line is nearly the distance from it.
    over = (line + jag - height) / np.sqrt(1 + slope * slope)
    soft = 0.02 if style == "beanie" else 0.07
    mask = face.smooth_step(over, -soft, soft)
    thick = {"short": 0.06, "volume": 0.15, "curly": 0.27, "fringe": 0.12, "bob": 0.16}
    thick = {**thick, "long": 0.12, "bun": 0.05, "beanie": 0.1, "receding": 0.04}[style]
    rise = face.smooth_step(over, -0.04, 0.14)
    top = 0.65 + 0.35 * face.smooth_step(-height, 0.3, 1.2)
    grown = thick * rng.uniform(0.85, 1.2) * rise * top
    rough = {"curly": 0.07, "beanie": 0.0}.get(style, 0.012)
    grown = grown + rough * rise * _noise(rng, len(skin), 20)
    if style == "bun":
        grown = grown + 0.38 * face.smooth_step(unit @ _BUN, 0.93, 0.99)
    return mask, np.maximum(grown, 0)


def _strands(rng, unit, look: looks.Look) -> np.ndarray:
    # Noise stretched along the meridians of the crown reads as combed hair.
    up, side, back = unit[..., 1], unit[..., 0], unit[..., 2] + 0.35
    around = np.arctan2(side, back) / (2 * np.pi) + 0.5
    down = (up + 1) / 2
    table = rng.normal(0, 1, (12, 220)).astype(np.float32)
    if look.style == "curly":
        table = rng.normal(0, 1, (60, 120)).astype(np.float32)
    x = (around * (table.shape[1] - 1)).astype(np.float32)
    y = (down * (table.shape[0] - 1)).astype(np.float32)
    noise = cv2.remap(table, x, y, cv2.INTER_LINEAR)[..., None]
    colour = look.hair
    if look.style == "beanie":
        colour = np.array(_CLOTH[rng.integers(len(_CLOTH))], float)
        noise = 0.4 * np.sign(np.sin(down * 70))[..., None] + 0.2 * noise
    return np.clip(colour * (1 + 0.16 * noise) + 5 * noise, 4, 250)


def _paint(rng, unit, radius, shape, look: looks.Look) -> tuple[np.ndarray, np.ndarray]:
    marks = shape.landmarks
    size = len(unit)
    albedo = np.ones((size, size, 3)) * look.skin
    albedo *= 1 + 0.035 * _noise(rng, size, 14)[..., None]
    albedo *= 1 + 0.02 * _noise(rng, size, 80)[..., None]

    def tint(where, colour, strength):
        nonlocal albedo
        albedo = albedo + strength * where[..., None] * (np.asarray(colour) - albedo)

    rosy = look.skin * (1.0, 0.76, 0.76)
    for side in (-1, 1):
        tint(blob(unit, (side * 0.55, 0.32, 0.72), 0.2), rosy, 0.5 + 0.3 * look.makeup)
        tint(blob(unit, (side * 0.95, 0.0, -0.3), 0.2), rosy, 0.4)
    tint(blob(unit, marks[30], 0.14), rosy, 0.45)
    dark = np.ones((size, size))
    for eye in (marks[36:42].mean(0), marks[42:48].mean(0)):
        dark *= 1 - 0.12 * blob(unit, eye + (0, -0.1, 0), 0.12)
        dark *= 1 - 0.10 * blob(unit, eye + (0, 0.12, 0), 0.1)
        lid = eye + (0, -0.1, 0)
        tint(blob(unit, lid, 0.1), look.skin * (0.7, 0.55, 0.6), 0.5 * look.makeup)
    for nostril in (
        marks[31] * 0.55 + marks[32] * 0.45,
        marks[35] * 0.55 + marks[34] * 0.45,
    ):
        dark *= 1 - 0.85 * blob(unit, nostril + (0, -0.005, 0), 0.046)
    dark *= 1 - 0.35 * blob(unit, marks[33] + (0, 0.05, 0), 0.1)
    dark *= 1 - 0.22 * blob(unit, (marks[57] + (0, 0.06, 0)), 0.11)
    for mark in (marks[31], marks[35]):
        wing = mark * (1.18, 0.98, 1)
        dark *= 1 - 0.25 * blob(unit, wing, 0.05)
    for corner in (marks[48], marks[54]):
        dark *= 1 - 0.2 * blob(unit, corner * (1.05, 1, 1), 0.06)
    for side in (-1, 1):
        dark *= 1 - 0.45 * blob(unit, (side * 0.97, 0.03, -0.27), 0.085)
    dark *= 1 - 0.35 * face.smooth_step(unit[..., 1] - 0.7 * unit[..., 2], 0.55, 0.95)
    tint(_beard(rng, unit, marks), look.hair * 0.7, look.beard)
    return albedo, dark


def _beard(rng, unit, marks) -> np.ndarray:
    height = unit[..., 1]
    jaw = face.smooth_step(height, 0.36, 0.62) * face.smooth_step(
        unit[..., 2], -0.25, 0.2
    )
    lip = blob(unit, marks[33] * 0.45 + marks[51] * 0.55, 0.2)
    cheek = blob(unit, (0.42, 0.36, 0.8), 0.22) + blob(unit, (-0.42, 0.36, 0.8), 0.22)
    grain = 0.85 + 0.15 * _noise(rng, len(unit), 100)
    return np.clip(
        np.maximum(jaw, 0.8 * lip) * (1 - np.clip(cheek, 0, 1)) * grain, 0, 1
    )


def _noise(rng, size: int, cells: int) -> np.ndarray:
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


_CLOTH = ((44, 60, 92), (120, 40, 46), (60, 62, 66), (46, 92, 80), (170, 140, 60))
_BUN = np.array([0, -0.86, -0.51])
