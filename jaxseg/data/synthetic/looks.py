"""The colours and choices that make one person look unlike another."""

from typing import NamedTuple

import numpy as np

STYLES = (
    "short",
    "volume",
    "fringe",
    "bob",
    "long",
    "bald",
    "receding",
    "bun",
    "curly",
    "beanie",
)
_STYLE_WEIGHTS = (0.18, 0.14, 0.1, 0.1, 0.16, 0.08, 0.07, 0.07, 0.07, 0.03)


class Look(NamedTuple):
    """Hold the colours (RGB 0..255) and choices of one person."""

    skin: np.ndarray
    lips: np.ndarray
    hair: np.ndarray
    brows: np.ndarray
    iris: np.ndarray
    style: str
    glasses: str
    glasses_colour: np.ndarray
    beard: float
    makeup: float
    brow_thickness: float


def sample_look(rng: np.random.Generator) -> Look:
    """Sample the colours and the choices of one person."""
    tone = np.clip(rng.normal(2.2, 1.7), 0, 6)
    skin = np.array([np.interp(tone, range(7), channel) for channel in _SKIN.T])
    skin = np.clip(skin + rng.normal(0, (5, 4, 5)), 30, 250)
    style = str(rng.choice(STYLES, p=_STYLE_WEIGHTS))
    makeup = float(rng.random() < 0.35) * rng.uniform(0.4, 1)
    red = np.array([176, 62, 72]) + rng.normal(0, (14, 12, 14))
    red = red * (0.5 + 0.5 * skin.mean() / 190)
    lips = skin + (0.62 + 0.25 * makeup) * (red - skin)
    hair = _HAIR[rng.choice(len(_HAIR), p=_HAIR_WEIGHTS if tone < 3 else _DARK_WEIGHTS)]
    hair = np.clip(hair * rng.uniform(0.8, 1.2) + rng.normal(0, 2, 3), 8, 240)
    smooth = style in ("bob", "long", "bun") or makeup > 0
    return Look(
        skin=skin,
        lips=np.clip(lips, 20, 240),
        hair=hair,
        brows=np.clip(0.6 * hair + 0.12 * skin, 10, 190),
        iris=_IRIS[rng.integers(len(_IRIS) if tone < 3 else 3)].astype(float),
        style=style,
        glasses=str(rng.choice(["none", "round", "square"], p=[0.72, 0.13, 0.15])),
        glasses_colour=_FRAMES[rng.integers(len(_FRAMES))].astype(float),
        beard=0.0 if smooth or rng.random() < 0.5 else rng.uniform(0.15, 0.9),
        makeup=makeup,
        brow_thickness=float(np.clip(rng.normal(0.066, 0.018), 0.035, 0.11)),
    )


_SKIN = np.array(
    [
        (232, 194, 172),
        (226, 178, 148),
        (214, 160, 126),
        (198, 140, 102),
        (160, 106, 74),
        (120, 78, 54),
        (86, 57, 43),
    ],
    float,
)
_HAIR = np.array(
    [
        (28, 22, 20),
        (58, 38, 26),
        (96, 62, 36),
        (140, 98, 54),
        (206, 168, 104),
        (150, 66, 32),
        (150, 148, 146),
        (214, 210, 204),
    ],
    float,
)
_HAIR_WEIGHTS = (0.18, 0.22, 0.18, 0.12, 0.12, 0.06, 0.07, 0.05)
_DARK_WEIGHTS = (0.62, 0.22, 0.05, 0.0, 0.0, 0.0, 0.07, 0.04)
_IRIS = np.array(
    [
        (78, 48, 30),
        (112, 70, 38),
        (60, 40, 30),
        (84, 124, 164),
        (98, 130, 84),
        (112, 142, 154),
    ]
)
_FRAMES = np.array([(20, 20, 24), (70, 40, 24), (120, 120, 126), (130, 30, 40)])
