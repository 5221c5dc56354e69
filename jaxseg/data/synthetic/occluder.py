"""Things that cross the lower face: a hand, a microphone, a mug."""

from typing import NamedTuple

import numpy as np

from jaxseg.data.opencv import cv2

TEXELS = 96
KINDS = ("hand", "microphone", "mug")
_SIZE = 240


class Occluder(NamedTuple):
    """Hold a sprite [240, 240, 4] (mask in channel 3) at 96 texels per head unit."""

    kind: str
    sprite: np.ndarray


def sample_occluders(rng: np.random.Generator, skin: np.ndarray) -> list[Occluder]:
    """Paint one of each kind for a person with this skin (RGB)."""
    makers = {"hand": _hand, "microphone": _microphone, "mug": _mug}
    return [Occluder(kind, makers[kind](rng, skin)) for kind in KINDS]


def paste(
    canvas, shade, item: Occluder, centre, scale: float, angle: float, light: int
):
    """Draw the sprite with its top middle at `centre` [x, y] in place."""
    zoom = scale / TEXELS
    turn = cv2.getRotationMatrix2D((_SIZE / 2, 40), angle, zoom)
    turn[:, 2] += np.asarray(centre) - (_SIZE / 2, 40)
    size = (canvas.shape[1], canvas.shape[0])
    layer = cv2.warpAffine(item.sprite, turn, size)
    mask = cv2.compare(cv2.extractChannel(layer, 3), 127, cv2.CMP_GT)
    cv2.copyTo(cv2.cvtColor(layer, cv2.COLOR_BGRA2BGR), mask, canvas)
    shade[mask > 0] = light


def _blank() -> np.ndarray:
    return np.zeros((_SIZE, _SIZE, 4), np.uint8)


def _hand(rng, skin) -> np.ndarray:
    layer = _blank()
    dark, mid = (*(0.62 * skin), 255), (*(0.9 * skin), 255)
    tips = [(70, 62), (100, 42), (130, 40), (160, 56)]
    roots = [(92, 140), (108, 136), (126, 136), (142, 140)]
    cv2.line(layer, (120, 160), (128, 300), dark, 66, cv2.LINE_AA)
    cv2.line(layer, (120, 160), (128, 300), mid, 58, cv2.LINE_AA)
    cv2.ellipse(layer, (118, 150), (42, 40), 0, 0, 360, dark, -1, cv2.LINE_AA)
    cv2.line(layer, (92, 168), (52, 124), dark, 26, cv2.LINE_AA)
    for tip, root in zip(tips, roots):
        cv2.line(layer, root, tip, dark, 25, cv2.LINE_AA)
        cv2.line(layer, root, tip, mid, 19, cv2.LINE_AA)
        nail = (*np.clip(skin * (1.05, 0.95, 0.95) + 14, 0, 255), 255)
        cv2.circle(layer, (tip[0], tip[1] - 1), 6, nail, -1, cv2.LINE_AA)
    cv2.ellipse(layer, (118, 152), (38, 36), 0, 0, 360, mid, -1, cv2.LINE_AA)
    cv2.line(layer, (92, 168), (54, 126), mid, 19, cv2.LINE_AA)
    for root in roots:
        cv2.circle(
            layer, (root[0], root[1] - 8), 5, (*(0.78 * skin), 255), 2, cv2.LINE_AA
        )
    return layer


def _microphone(rng, skin) -> np.ndarray:
    layer = _blank()
    cv2.line(layer, (120, 110), (132, 300), (34, 34, 38, 255), 24, cv2.LINE_AA)
    cv2.line(layer, (114, 110), (126, 300), (92, 92, 98, 255), 5, cv2.LINE_AA)
    cv2.circle(layer, (120, 76), 38, (52, 52, 58, 255), -1, cv2.LINE_AA)
    for step in range(-30, 31, 10):
        cv2.line(layer, (90, 76 + step), (150, 76 - step), (110, 110, 116, 255), 1)
        cv2.line(layer, (120 + step, 48), (120 - step, 104), (110, 110, 116, 255), 1)
    cv2.circle(layer, (108, 62), 9, (170, 170, 176, 255), -1, cv2.LINE_AA)
    cv2.rectangle(layer, (100, 104), (142, 122), (150, 150, 156, 255), -1)
    return _fist(layer, skin)


def _mug(rng, skin) -> np.ndarray:
    layer = _blank()
    colour = rng.uniform(60, 230, 3)
    cv2.ellipse(
        layer, (164, 100), (26, 32), 0, 0, 360, (*(0.8 * colour), 255), 12, cv2.LINE_AA
    )
    cv2.rectangle(layer, (76, 46), (156, 156), (*colour, 255), -1)
    cv2.rectangle(layer, (76, 46), (94, 156), (*(0.75 * colour), 255), -1)
    cv2.rectangle(layer, (76, 84), (156, 96), (*(255 - colour), 255), -1)
    cv2.ellipse(
        layer, (116, 46), (40, 10), 0, 0, 360, (*(0.5 * colour), 255), -1, cv2.LINE_AA
    )
    return _fist(layer, skin)


def _fist(layer: np.ndarray, skin) -> np.ndarray:
    cv2.line(layer, (126, 170), (136, 300), (*(0.86 * skin), 255), 60, cv2.LINE_AA)
    for row in range(4):
        y = 130 + 17 * row
        cv2.line(layer, (98, y + 4), (146, y), (*(0.6 * skin), 255), 20, cv2.LINE_AA)
        cv2.line(layer, (98, y + 4), (146, y), (*(0.9 * skin), 255), 15, cv2.LINE_AA)
    return layer
