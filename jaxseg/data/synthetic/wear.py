"""Glasses and long hair: parts that hang on the head, not on its surface."""

import numpy as np

from jaxseg.data.synthetic import draw


def glasses(canvas, where, shape, look) -> None:
    """Draw the rims, the bridge and the near temple in place."""
    marks = shape.landmarks
    eyes = [marks[36:42].mean(0), marks[42:48].mean(0)]
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    power = 0.45 if look.glasses == "square" else 0.9
    cos, sin = np.cos(angle), np.sin(angle)
    wide = np.sign(cos) * np.abs(cos) ** power * 0.29
    tall = np.sign(sin) * np.abs(sin) ** power * (0.19 if power < 0.5 else 0.25)
    rims, hinges = [], []
    for eye, side in zip(eyes, (-1, 1)):
        away = np.abs(wide * side + 0.29) * 0.22
        rim = np.stack([wide, tall, 0.13 - away * (wide * side > -0.1)], 1)
        rims.append(where.project(eye + (0, 0.03, 0.06) + rim))
        hinges.append(eye + (side * 0.29, -0.02, 0.06))
    near = 0 if where.rotation[0, 2] > 0 else 1
    ear = np.array([(-1, 1)[near] * 1.04, -0.12, -0.2])
    temple = None
    if abs(where.rotation[0, 2]) > 0.08:
        temple = where.project(np.stack([hinges[near], ear]))
    draw.glasses(canvas, rims, temple, look, where.unit)


def long_hair(canvas, where, look, behind: bool) -> None:
    """Draw the hair behind the neck, or the two locks before the shoulders."""
    colour = look.hair * (0.7 if behind else 0.95)
    if behind:
        outline = np.concatenate([_BACK, (_BACK * (-1, 1, 1))[::-1]])
        draw.fill(canvas, where.project(outline), colour)
        return
    for side in (-1, 1):
        lock = where.project(_LOCK * (side, 1, 1))
        smooth = draw.spline_matrix(5, 12)
        lock = np.concatenate([smooth @ lock[:5], smooth @ lock[5:]])
        draw.fill(canvas, lock, colour)
        for share, tone in ((0.25, 1.2), (0.5, 0.8), (0.75, 1.12)):
            strand = lock[:12] + share * (lock[:11:-1] - lock[:12])
            draw.stroke(canvas, strand, tone * colour, 0.03 * where.unit)


_BACK = np.array(
    [
        (0, -0.9, -0.4),
        (0.8, -0.7, -0.4),
        (1.12, 0.0, -0.4),
        (1.2, 0.8, -0.3),
        (1.25, 1.7, -0.3),
        (0.9, 2.1, -0.3),
    ]
)
_LOCK = np.array(
    [
        (1.08, 0.2, -0.3),
        (1.17, 0.7, -0.2),
        (1.22, 1.2, -0.1),
        (1.22, 1.7, 0.0),
        (1.05, 2.2, 0.0),
        (0.78, 2.1, 0.0),
        (0.72, 1.6, 0.0),
        (0.72, 1.2, -0.1),
        (0.82, 0.7, -0.25),
        (0.92, 0.2, -0.3),
    ]
)
