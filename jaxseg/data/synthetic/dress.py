"""Neck, shoulders and clothes of a person: one flat picture with its bend to the light.

Units are the head's; the origin is the middle of the neck, below the jaw.
"""

import numpy as np

from jaxseg.data.opencv import cv2
from jaxseg.data.synthetic import face

WIDTH = 3.2
TOP = -0.75
BOTTOM = 3.4
KINDS = ("crew", "vee", "shirt", "suit", "hood", "stripes")


class Dress:
    """Hold picture [h, w, 3], mask and bend [h, w] at a number of texels per unit."""

    def __init__(self, picture, mask, bend, texels: float):
        self.picture, self.mask, self.bend = picture, mask, bend
        self.texels = texels
        self._small = None

    def scaled(self, texels: float) -> "Dress":
        """Return the dress at another number of texels per unit; keeps the last one."""
        if self._small is None or self._small.texels != texels:
            height, width = self.mask.shape
            zoom = texels / self.texels
            size = (round(width * zoom), round(height * zoom))
            layers = [cv2.resize(x, size) for x in (self.picture, self.mask, self.bend)]
            layers[1] = cv2.compare(layers[1], 127, cv2.CMP_GT)
            self._small = Dress(*layers, texels)
        return self._small


def sample_dress(rng: np.random.Generator, skin: np.ndarray, texels: float) -> Dress:
    """Paint the neck and the clothes of a person with this skin (RGB)."""
    kind = str(rng.choice(KINDS))
    w, h = int(2 * WIDTH * texels), int((BOTTOM - TOP) * texels)
    x, y = np.meshgrid(np.linspace(-WIDTH, WIDTH, w), np.linspace(TOP, BOTTOM, h))
    broad = rng.uniform(1.75, 2.2)
    neck = rng.uniform(0.46, 0.60)
    side = np.abs(x)
    edge = neck + 0.02 * np.abs(y) + 0.45 * face.smooth_step(y, 0.35, 0.95)
    slope = (
        0.72
        + 0.36 * (side / broad) ** 2
        + 4 * np.maximum(side / broad - 0.93, 0) ** 1.3
    )
    body = (side < edge) | (y > slope)
    cloth = (y > slope - 0.03) & _below_collar(kind, x, y, neck)
    colour = np.clip(rng.uniform(25, 205) * (1 + rng.normal(0, 0.25, 3)), 12, 225)
    picture = np.ones((h, w, 3)) * skin * 0.96
    picture[y < 0.35] *= 0.97
    throat = np.exp(-((side - 0.12 - 0.1 * y) ** 2) / 0.004) * face.smooth_step(
        y, 0.2, 0.6
    )
    picture *= 1 - 0.07 * throat[..., None]
    picture[cloth] = _cloth(rng, kind, colour, x, y)[cloth]
    _details(rng, kind, picture, x, y, cloth, colour, neck)
    bend = np.where(
        cloth, np.sin(np.clip(x / (1.05 * broad), -1, 1) * 1.35), x / (1.15 * neck)
    )
    shade = 1 - 0.55 * (1 - face.smooth_step(y, -0.25, 0.62)) * ~cloth
    rim = _rim(cloth)
    picture = np.clip(picture * shade[..., None] * rim[..., None], 0, 255)
    out = np.dstack([picture, 255.0 * body, np.clip(bend, -1, 1) * 127 + 128])
    out = np.dstack(
        [
            cv2.GaussianBlur(part, (0, 0), texels / 64)
            for part in (out[..., :3], out[..., 3:])
        ]
    )
    out = out.astype(np.uint8)
    layers = (out[..., :3], out[..., 3], out[..., 4])
    return Dress(*(np.ascontiguousarray(layer) for layer in layers), texels)


def _below_collar(kind: str, x, y, neck: float) -> np.ndarray:
    if kind in ("vee", "shirt", "suit"):
        return (y > 0.62 + (neck + 0.25 - np.abs(x)) * 0.9) | (np.abs(x) > neck + 0.22)
    if kind == "hood":
        return y > 0.3 + 0.35 * np.sqrt(np.maximum(1 - (x / 1.0) ** 2, 0))
    return y > 0.52 + 0.36 * np.sqrt(np.maximum(1 - (x / (neck + 0.22)) ** 2, 0))


def _cloth(rng, kind: str, colour, x, y) -> np.ndarray:
    fold = np.sin(3 * x + 2 * y + rng.uniform(0, 6)) * np.sin(1.3 * y - 2 * x)
    cloth = colour * (1 + 0.07 * fold[..., None])
    if kind == "stripes":
        wave = np.sin(y * rng.uniform(16, 28)) > rng.uniform(-0.2, 0.5)
        other = rng.uniform(30, 225) * (1 + rng.normal(0, 0.15, 3))
        cloth = np.where(wave[..., None], cloth, other)
    if kind == "shirt" and rng.random() < 0.5:
        grid = (np.sin(x * 24) > 0.6) | (np.sin(y * 24) > 0.6)
        cloth = np.where(grid[..., None], cloth * 0.7, cloth)
    return cloth


def _details(rng, kind: str, picture, x, y, cloth, colour, neck: float) -> None:
    side = np.abs(x)
    if kind == "suit":
        white = cloth & (side < 0.62 - 0.2 * (y - 0.9)) & (y < 4)
        picture[white] = (228, 228, 230)
        tie = (side < 0.10 + 0.05 * (y - 1)) & (y > 1.12)
        picture[tie] = rng.uniform(30, 160, 3)
        picture[cloth & (np.abs(side - 0.62 + 0.2 * (y - 0.9)) < 0.03)] *= 0.6
    if kind == "shirt":
        collar = cloth & (side < neck + 0.3) & (y < 1.15 - 0.4 * (side - 0.2))
        picture[collar] = picture[collar] * 0.5 + 0.5 * np.clip(colour * 1.3, 0, 250)
        picture[(side < 0.02) & (y > 1.2)] *= 0.6
    if kind == "hood":
        cords = (np.abs(side - 0.3) < 0.03) & (y > 0.8) & (y < 1.7)
        picture[cords] = 235


def _rim(cloth: np.ndarray) -> np.ndarray:
    # A soft dark line where cloth meets skin gives the collar thickness.
    mask = cloth.astype(np.float32)
    soft = cv2.GaussianBlur(mask, (0, 0), max(1.0, len(mask) / 90))
    return 1 - 0.9 * np.maximum(soft * (1 - mask), 0)
