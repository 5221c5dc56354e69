"""The light on a person: its direction, the tone of a surface and the exposure.

A shade is one byte; `UNIT` stands for full light. What a surface gives back is a table
over a byte that codes how it faces the light.
"""

import math

import numpy as np

UNIT = 110
_WARM = np.array([0.88, 1.0, 1.07])


def direction(spot, light: float) -> np.ndarray:
    """Return the unit vector [3] towards the light of a scene; the latent turns it."""
    turn = spot.light_turn + 0.7 * light
    towards = np.array([math.sin(turn), -spot.light_height, max(0.25, math.cos(turn))])
    return towards / np.linalg.norm(towards)


def shades(facing: np.ndarray, contrast: float, gloss: float = 0.0) -> np.ndarray:
    """Return the shade (uint8) of surfaces by the cosine `facing` to the light."""
    # Wrapped past the terminator: skin is soft.
    tone = np.maximum(facing + 0.25, 0) / 1.25 * contrast + 0.98 - contrast
    tone = tone + gloss * np.maximum(facing, 0) ** 16
    return np.clip(tone * UNIT, 0, 255).astype(np.uint8)


def exposure(spot, light: float, tint: float, skin: np.ndarray) -> np.ndarray:
    """Return the table [1, 256, 3] from shades to gains of red, green and blue."""
    # The camera opens for a dark face.
    opening = 1.28 - 0.28 * skin.mean() / 180
    gain = opening * spot.exposure * 2.0 ** (0.5 * light)
    warm = spot.warmth + 0.06 * tint
    gains = gain * np.array([1 + warm, 1.0, 1 - warm])
    level = np.arange(256)[:, None] / UNIT
    # Shadows on skin are warmer than its lit side.
    return np.clip(UNIT * gains * level**_WARM, 0, 255).astype(np.uint8)[None]
