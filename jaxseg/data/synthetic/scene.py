"""Backgrounds: textures larger than the frame that pan, and things that pass by."""

import math
from typing import NamedTuple

import numpy as np

from jaxseg.data.opencv import cv2
from jaxseg.data.synthetic import face


class Scene(NamedTuple):
    """Hold one place: its picture, a passing layer (or None), pan, light and stand.

    picture [h, w, 3] is at frame resolution, `margin` times the frame; near [h, w, 4]
    carries its mask in channel 3; pan and near_speed are frames widths per second.
    """

    picture: np.ndarray
    near: np.ndarray | None
    pan: np.ndarray
    near_speed: float
    stand: np.ndarray
    scale: float
    light_turn: float
    light_height: float
    exposure: float
    contrast: float
    warmth: float
    margin: float = 1.6


def sample_scene(rng: np.random.Generator, height: int, width: int) -> Scene:
    """Sample one scene for frames of `height` x `width` pixels."""
    kind = str(rng.choice(list(_PAINTERS)))
    h, w = int(1.6 * height), int(1.6 * width)
    picture = _PAINTERS[kind](rng, h, w)
    sigma = rng.uniform(0.002, 0.014) * height
    grey = picture.mean(-1, keepdims=True)
    picture = grey + rng.uniform(0.3, 0.9) * (picture - grey)
    picture = cv2.GaussianBlur(np.clip(picture, 0, 255).astype(np.uint8), (0, 0), sigma)
    moving = rng.random() < 0.4
    return Scene(
        picture=picture,
        near=_near(rng, h, w) if rng.random() < 0.35 else None,
        pan=rng.normal(0, 0.05, 2) * (1, 0.25) * moving,
        near_speed=rng.normal(0, 0.25),
        stand=rng.normal(0, 1, 2) * (0.035, 0.02),
        scale=rng.uniform(0.22, 0.26),
        light_turn=rng.choice([-1, 1]) * rng.uniform(0.15, 1.0),
        light_height=rng.uniform(0.1, 0.8),
        exposure=rng.uniform(0.88, 1.06),
        contrast=rng.uniform(0.42, 0.75),
        warmth=rng.normal(0, 0.05),
    )


def backdrop(scene: Scene, time: float, offset, height: int, width: int, zoom: int):
    """Return the picture at `time` seconds as a canvas [zoom * h, zoom * w, 3]."""
    margin = (scene.margin - 1) / 2
    place = scene.pan * time * 0.9 + np.asarray(offset)
    # A triangle wave keeps the window on the picture.
    place = margin * 2 / math.pi * np.arcsin(np.sin(place / margin * math.pi / 2))
    picture = _window_of(
        scene.picture, (margin + place) * (width, height), height, width
    )
    if scene.near is not None:
        travel = (scene.near_speed * time + 2.2 * place[0] + 0.5) % 1.8 - 0.9
        layer = _window_of(scene.near, (-travel * width, 0), height, width)
        mask = cv2.cvtColor(cv2.extractChannel(layer, 3), cv2.COLOR_GRAY2BGR)
        # The layer carries colour times mask, so it is added to what is left behind.
        picture = cv2.multiply(picture, cv2.bitwise_not(mask), scale=1 / 255)
        picture = cv2.add(picture, cv2.cvtColor(layer, cv2.COLOR_BGRA2BGR))
    size = (width * zoom, height * zoom)
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)


def _window_of(picture, corner, height: int, width: int) -> np.ndarray:
    matrix = np.array([[1, 0, corner[0]], [0, 1, corner[1]]], float)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REFLECT if picture.shape[2] == 3 else cv2.BORDER_CONSTANT
    return cv2.warpAffine(
        picture, matrix, (width, height), flags=flags, borderMode=border
    )


def _near(rng, h: int, w: int) -> np.ndarray:
    layer = np.zeros((h, w, 4), np.uint8)
    colour = np.clip(rng.uniform(40, 170) * (1 + rng.normal(0, 0.2, 3)), 10, 220)
    if rng.random() < 0.5:
        x, r = int(0.3 * w), int(rng.uniform(0.05, 0.08) * w)
        cv2.ellipse(
            layer,
            (x, int(0.22 * h)),
            (r, int(1.3 * r)),
            0,
            0,
            360,
            (150, 112, 92, 255),
            -1,
        )
        cv2.ellipse(layer, (x, int(0.17 * h)), (r, r), 0, 0, 360, (40, 30, 26, 255), -1)
        shoulders = (x, int(0.75 * h)), (int(2.3 * r), int(0.48 * h) - r)
        cv2.ellipse(layer, *shoulders, 0, 0, 360, (*colour, 255), -1)
    else:
        x, r = int(0.3 * w), int(rng.uniform(0.03, 0.08) * w)
        cv2.rectangle(layer, (x - r, 0), (x + r, h), (*colour, 255), -1)
        cv2.rectangle(layer, (x - r, 0), (x - r // 2, h), (*(colour * 0.7), 255), -1)
    return cv2.GaussianBlur(layer, (0, 0), 0.004 * h)


def _gradient(rng, h: int, w: int, low=40, high=215) -> np.ndarray:
    corners = rng.uniform(low, high) + rng.normal(0, 22, (2, 2, 3))
    return cv2.resize(
        corners.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR
    )


def _grain(rng, h: int, w: int, cells: int, size: float) -> np.ndarray:
    coarse = rng.normal(0, size, (cells, max(2, cells * w // h), 1)).astype(np.float32)
    return cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)[..., None]


def _studio(rng, h: int, w: int) -> np.ndarray:
    return _gradient(rng, h, w) + _grain(rng, h, w, 6, 9) + _grain(rng, h, w, 40, 4)


def _shelves(rng, h: int, w: int) -> np.ndarray:
    image = np.full((h, w, 3), rng.uniform(60, 120)) * (1.0, 0.8, 0.6)
    rows = int(rng.integers(4, 7))
    for row in range(rows):
        top, bottom = row * h // rows, (row + 1) * h // rows
        x = 0
        while x < w:
            wide = int(rng.uniform(0.012, 0.045) * w) + 2
            tall = int((bottom - top) * rng.uniform(0.55, 0.88))
            if rng.random() < 0.9:
                image[bottom - tall : bottom, x : x + wide] = rng.uniform(25, 220, 3)
                image[bottom - tall // 2 : bottom - tall // 3, x : x + wide] *= 1.25
            x += wide + 1
        image[bottom - max(2, h // 70) : bottom] = (150, 112, 76)
    return image


def _window(rng, h: int, w: int) -> np.ndarray:
    image = _gradient(rng, h, w, 70, 170)
    for x in range(3):
        left, right = int((0.05 + 0.32 * x) * w), int((0.33 + 0.32 * x) * w)
        sky = np.linspace((190, 215, 240), (225, 228, 220), h)[:, None]
        image[int(0.08 * h) : int(0.78 * h), left:right] = sky[
            : int(0.78 * h) - int(0.08 * h)
        ]
        for _ in range(7):
            at = rng.integers(left, right)
            top = int(rng.uniform(0.3, 0.65) * h)
            wide = int(rng.uniform(0.02, 0.07) * w)
            image[top : int(0.78 * h), at : min(at + wide, right)] = rng.uniform(
                70, 190, 3
            )
        image[
            int(0.08 * h) : int(0.78 * h),
            (left + right) // 2 - 2 : (left + right) // 2 + 2,
        ] = 235
    return image


def _bricks(rng, h: int, w: int) -> np.ndarray:
    base = np.array(
        [(168, 92, 70), (190, 180, 170), (120, 110, 104)][rng.integers(3)], float
    )
    image = np.full((h, w, 3), 0.62 * base + 60)
    tall, wide = max(4, h // 18), max(8, w // 11)
    for row, y in enumerate(range(0, h, tall)):
        for x in range(-wide, w, wide):
            left = max(0, x + (row % 2) * wide // 2)
            colour = base * rng.uniform(0.8, 1.15) + rng.normal(0, 5, 3)
            image[
                y + 1 : y + tall - 1,
                left + 1 : max(left, x + (row % 2) * wide // 2 + wide - 1),
            ] = colour
    return image + _grain(rng, h, w, 60, 6)


def _lights(rng, h: int, w: int) -> np.ndarray:
    image = np.ascontiguousarray(_gradient(rng, h, w, 22, 60), np.float32)
    for _ in range(60):
        glow = np.zeros_like(image)
        centre = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
        colour = rng.uniform(50, 190) * rng.dirichlet((2, 2, 2)) * 2
        cv2.circle(glow, centre, int(rng.uniform(0.015, 0.06) * h), colour.tolist(), -1)
        image += glow
    return image


def _garden(rng, h: int, w: int) -> np.ndarray:
    image = np.linspace((170, 205, 235), (90, 120, 60), h)[:, None] * np.ones((1, w, 1))
    leaves = _grain(rng, h, w, 30, 1)[..., 0] + _grain(rng, h, w, 9, 1.4)[..., 0]
    height = np.linspace(-2.2, 2.2, h)[:, None]
    green = np.array((58, 104, 44)) * (1 + 0.25 * _grain(rng, h, w, 70, 1))
    share = face.smooth_step(leaves + height, -0.5, 0.5)[..., None]
    return image + share * (green - image)


def _curtain(rng, h: int, w: int) -> np.ndarray:
    colour = rng.uniform(60, 190, 3)
    x = np.arange(w) / w + 0.01 * np.sin(np.arange(w) / w * 31)
    folds = 1 + 0.28 * np.sin(2 * np.pi * x * rng.uniform(9, 22))
    return colour * folds[None, :, None] * np.linspace(1.1, 0.85, h)[:, None, None]


def _office(rng, h: int, w: int) -> np.ndarray:
    image = _gradient(rng, h, w, 150, 215)
    image[int(0.68 * h) :] = rng.uniform(70, 120, 3)
    for _ in range(9):
        x, y = int(rng.uniform(0, 0.9) * w), int(rng.uniform(0.05, 0.6) * h)
        wide, tall = int(rng.uniform(0.08, 0.22) * w), int(rng.uniform(0.08, 0.26) * h)
        image[y : y + tall, x : x + wide] = rng.uniform(20, 235, 3)
        inner = image[y + 2 : y + tall - 2, x + 2 : x + wide - 2]
        inner += (rng.uniform(30, 225, 3) - inner) * 0.8
    return image


_PAINTERS = {
    "studio": _studio,
    "shelves": _shelves,
    "window": _window,
    "bricks": _bricks,
    "lights": _lights,
    "garden": _garden,
    "curtain": _curtain,
    "office": _office,
}
