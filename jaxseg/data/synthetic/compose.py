"""Composition of one frame: place, turn, light and draw a person before a scene."""

import math

import numpy as np

from jaxseg.data.opencv import cv2
from jaxseg.data.synthetic import (
    draw,
    dress,
    face,
    film,
    light,
    occluder,
    person,
    place,
    scene,
    surface,
    wear,
)

ZOOM = 2
_ANGLE = math.radians(30)


class Composer:
    """Draw the frames of one person; scenes are told by their number."""

    def __init__(self, seed: int, video: int, height: int, width: int):
        self.height, self.width = height, width
        self._seed = (seed, video)
        rng = np.random.default_rng([seed, video, 1])
        side = min(height, width)
        self._texels = int(np.clip(1.6 * side, 160, 512))
        self.person = person.sample_person(rng, self._texels)
        self._dress = dress.sample_dress(rng, self.person.look.skin, 0.45 * side)
        self._items = occluder.sample_occluders(rng, self.person.look.skin)
        self._wave = rng.uniform(0, 6.3, 4)
        self._noise = film.grain(rng, height, width)
        self._noise_at = rng
        self._scenes = {}

    def scene(self, number: int) -> scene.Scene:
        """Return the scene of this number, the same whenever it is asked for."""
        if number not in self._scenes:
            rng = np.random.default_rng([*self._seed, 2, number])
            self._scenes = {number: scene.sample_scene(rng, self.height, self.width)}
        return self._scenes[number]

    def frame(self, latents: dict, time: float, speed) -> tuple[np.ndarray, np.ndarray]:
        """Return the image [H, W, 3] uint8 RGB and landmarks [68, 2], 1-based.

        `latents` are the values of one frame, `time` is in seconds, `speed` is the
        motion of the head's centre in pixels of the frame during it.
        """
        where = self._place(latents)
        landmarks = self.landmarks(latents)
        canvas, shade = self._draw(latents, where, landmarks, time)
        size = (self.width, self.height)
        image = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
        shade = cv2.resize(shade, size, interpolation=cv2.INTER_AREA)
        spot = self.scene(int(latents["scene"]))
        lamp, tint = float(latents["light"]), float(latents["tint"])
        table = light.exposure(spot, lamp, tint, self.person.look.skin)
        shades = cv2.LUT(cv2.cvtColor(shade, cv2.COLOR_GRAY2BGR), table)
        image = cv2.multiply(image, shades, scale=1 / light.UNIT)
        image = film.blur(image, speed, (where.centre - 0.5) / ZOOM, where.unit / ZOOM)
        return self._sense(image), landmarks + 1.0

    def centre(self, latents: dict) -> np.ndarray:
        """Return the place of the head's centre [2] in pixels of the frame, 0-based."""
        where = self._place(latents)
        return (where.project(np.array([[0.0, 0.2, 0.8]]))[0] - 0.5) / ZOOM

    def landmarks(self, latents: dict) -> np.ndarray:
        """Return the annotated points [68, 2] in pixels of the frame, 0-based."""
        where = self._place(latents)
        points = self._points(latents)[: face.LANDMARKS]
        flat = where.project(points)
        flat[:17] = self._outline(latents, where)
        return (flat - 0.5) / ZOOM

    def _points(self, latents: dict) -> np.ndarray:
        return face.express(
            self.person.shape,
            mouth=float(latents["mouth"]),
            eyes=float(latents["eyes"]),
            brow=float(latents["brow"]),
            smile=float(latents["smile"]),
        )

    def _outline(self, latents: dict, where: place.Place) -> np.ndarray:
        closed, opened = self.person.jaw_paths
        paths = closed + float(latents["mouth"]) * (opened - closed)
        flat = where.project(paths.reshape(-1, 3)).reshape(17, -1, 2)
        start = self.person.shape.landmarks[:17, :2] - (0, 0.25)
        outward = start / np.linalg.norm(start, axis=1, keepdims=True)
        outward = outward @ _turn(where.roll).T
        reach = np.einsum("kmc,kc->km", flat, outward)
        best = np.clip(reach.argmax(1), 1, reach.shape[1] - 2)
        rows = np.arange(17)
        a, b, c = (reach[rows, best + step] for step in (-1, 0, 1))
        step = np.clip(0.5 * (a - c) / (a - 2 * b + c - 1e-9), -1, 1)[:, None]
        side = np.where(step > 0, flat[rows, best + 1], flat[rows, best - 1])
        return flat[rows, best] + np.abs(step) * (side - flat[rows, best])

    def _place(self, latents: dict) -> place.Place:
        spot = self.scene(int(latents["scene"]))
        angles = [_ANGLE * float(latents[name]) for name in ("yaw", "pitch", "roll")]
        unit = spot.scale * min(self.height, self.width) * ZOOM
        middle = np.array([0.5 * self.width, 0.52 * self.height]) * ZOOM
        drift = np.asarray(latents["drift"]) * unit
        stand = spot.stand * min(self.height, self.width) * ZOOM
        return place.Place(angles, unit, middle + stand + drift * (1, 0.6))

    def _draw(self, latents, where, landmarks, time: float):
        spot = self.scene(int(latents["scene"]))
        away = np.asarray(latents["drift"]) * 0.12
        canvas = scene.backdrop(spot, time, away, self.height, self.width, ZOOM)
        shade = np.full(canvas.shape[:2], int(0.92 * light.UNIT), np.uint8)
        towards = light.direction(spot, float(latents["light"]))
        look = self.person.look
        if look.style == "long":
            wear.long_hair(canvas, where, look, behind=True)
        self._clothe(canvas, shade, where, towards, spot)
        if look.style == "long":
            wear.long_hair(canvas, where, look, behind=False)
        self._head(canvas, shade, latents, where, landmarks, towards, spot)
        self._occlude(canvas, shade, latents, where, spot, time)
        return canvas, shade

    def _head(self, canvas, shade, latents, where, landmarks, towards, spot) -> None:
        who = self.person
        mouth = min(1.0, max(0.0, float(latents["mouth"])))
        radius, normals = (_mix(pair, mouth) for pair in (who.radius, who.normals))
        view = surface.look(radius, where.rotation, where.centre, where.unit)
        lit = self._lit(normals, towards @ where.rotation, spot)
        fixed = cv2.convertMaps(view.maps, None, cv2.CV_16SC2)
        skin = cv2.remap(who.albedo, *fixed, cv2.INTER_LINEAR)
        tone = cv2.remap(lit, *fixed, cv2.INTER_LINEAR)
        mask = cv2.compare(view.inside, 0, cv2.CMP_GT)
        self._features(skin, latents, where, landmarks * ZOOM + 0.5 - view.corner)
        _stick(canvas, skin, mask, view.corner)
        _stick(shade, tone, mask, view.corner)
        if who.look.glasses != "none":
            wear.glasses(canvas, where, who.shape, who.look)

    def _lit(self, normals, towards, spot) -> np.ndarray:
        facing = cv2.transform(normals, towards[None].astype(np.float32))
        steps = cv2.convertScaleAbs(np.maximum(facing, -0.25), alpha=200, beta=50)
        table = light.shades((np.arange(256) - 50) / 200, spot.contrast, gloss=0.12)
        return cv2.multiply(cv2.LUT(steps, table), self.person.dark, scale=1 / 255)

    def _features(self, skin, latents, where, points) -> None:
        look, unit = self.person.look, where.unit
        turn = -where.rotation[:2, 2]
        turn = np.array([turn[0] * -0.5, turn[1] * -0.3])
        closed = float(latents["eyes"])
        for parts in draw.EYES:
            draw.eye(skin, points, parts, look, unit, latents["gaze"], closed, turn)
        draw.mouth(skin, points, look, unit)
        draw.brow(skin, points[17:22], look, unit)
        draw.brow(skin, points[22:27], look, unit)

    def _clothe(self, canvas, shade, where, towards, spot) -> None:
        worn = self._dress.scaled(where.unit)
        corner = where.neck + where.unit * np.array([-dress.WIDTH, dress.TOP])
        slope = (np.arange(256) - 128) / 127
        facing = slope * towards[0] + np.sqrt(np.maximum(1 - slope**2, 0)) * towards[2]
        table = light.shades(facing, spot.contrast)
        corner = np.round(corner).astype(int).tolist()
        _stick(canvas, worn.picture, worn.mask, corner)
        _stick(shade, cv2.LUT(worn.bend, table), worn.mask, corner)

    def _occlude(self, canvas, shade, latents, where, spot, time: float) -> None:
        rise = float(latents["occluder"])
        if rise <= 0:
            return
        item = self._items[int(self._wave[0] * 100 + int(latents["scene"])) % 3]
        sway = np.sin(1.7 * time + self._wave[1:3]) * (0.14, 0.07)
        goal = np.array([0.25 * np.sin(self._wave[3]), 0.72]) + sway
        start = goal + (0.5, 2.6)
        spot_on = where.centre + where.unit * (start + rise * (goal - start))
        angle = 8 * math.sin(1.1 * time + self._wave[1])
        tone = int(0.95 * light.UNIT)
        occluder.paste(canvas, shade, item, spot_on, where.unit, angle, tone)

    def _sense(self, image: np.ndarray) -> np.ndarray:
        row, column = self._noise_at.integers(0, 32, 2)
        noise = self._noise[row : row + self.height, column : column + self.width]
        return cv2.add(image, noise, dtype=cv2.CV_8U)


def _stick(canvas: np.ndarray, layer: np.ndarray, mask: np.ndarray, corner) -> None:
    x, y = corner
    left, top = max(0, -x), max(0, -y)
    right = min(layer.shape[1], canvas.shape[1] - x)
    bottom = min(layer.shape[0], canvas.shape[0] - y)
    if left < right and top < bottom:
        part = (slice(top, bottom), slice(left, right))
        target = canvas[y + top : y + bottom, x + left : x + right]
        cv2.copyTo(layer[part], mask[part], target)


def _mix(pair: tuple[np.ndarray, np.ndarray], share: float) -> np.ndarray:
    if share < 0.01:
        return pair[0]
    return cv2.addWeighted(pair[0], 1 - share, pair[1], share, 0)


def _turn(roll: float) -> np.ndarray:
    c, s = math.cos(roll), math.sin(roll)
    return np.array([[c, -s], [s, c]])
