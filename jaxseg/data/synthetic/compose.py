"""Composition of one frame: place, turn, light and draw a person before a scene."""

import math

import cv2
import numpy as np

from jaxseg.data.synthetic import draw
from jaxseg.data.synthetic import dress
from jaxseg.data.synthetic import face
from jaxseg.data.synthetic import occluder
from jaxseg.data.synthetic import person
from jaxseg.data.synthetic import scene
from jaxseg.data.synthetic import surface

ZOOM = 2
_PIVOT = np.array([0.0, 1.05, -0.35])
_ANGLE = math.radians(30)
_UNIT_SHADE = 110
_WARM = np.array([0.88, 1.0, 1.07])


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
        self._noise = _grain(rng, height, width)
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
        place = self._place(latents)
        landmarks = self.landmarks(latents)
        canvas, shade = self._draw(latents, place, landmarks, time)
        size = (self.width, self.height)
        image = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
        shade = cv2.resize(shade, size, interpolation=cv2.INTER_AREA)
        shades = cv2.LUT(cv2.cvtColor(shade, cv2.COLOR_GRAY2BGR), self._curve(latents))
        image = cv2.multiply(image, shades, scale=1 / _UNIT_SHADE)
        image = _blur(image, speed)
        return self._sense(image), landmarks + 1.0

    def centre(self, latents: dict) -> np.ndarray:
        """Return the place of the head's centre [2] in pixels of the frame, 0-based."""
        place = self._place(latents)
        return (place.project(np.array([[0.0, 0.2, 0.8]]))[0] - 0.5) / ZOOM

    def landmarks(self, latents: dict) -> np.ndarray:
        """Return the annotated points [68, 2] in pixels of the frame, 0-based."""
        place = self._place(latents)
        points = self._points(latents)[: face.LANDMARKS]
        flat = place.project(points)
        flat[:17] = self._outline(latents, place)
        return (flat - 0.5) / ZOOM

    def _points(self, latents: dict) -> np.ndarray:
        return face.express(
            self.person.shape,
            mouth=float(latents["mouth"]),
            eyes=float(latents["eyes"]),
            brow=float(latents["brow"]),
            smile=float(latents["smile"]),
        )

    def _outline(self, latents: dict, place: "_Place") -> np.ndarray:
        closed, opened = self.person.jaw_paths
        paths = closed + float(latents["mouth"]) * (opened - closed)
        flat = place.project(paths.reshape(-1, 3)).reshape(17, -1, 2)
        start = self.person.shape.landmarks[:17, :2] - (0, 0.25)
        outward = start / np.linalg.norm(start, axis=1, keepdims=True)
        outward = outward @ _turn(place.roll).T
        reach = np.einsum("kmc,kc->km", flat, outward)
        best = np.clip(reach.argmax(1), 1, reach.shape[1] - 2)
        rows = np.arange(17)
        a, b, c = (reach[rows, best + step] for step in (-1, 0, 1))
        step = np.clip(0.5 * (a - c) / (a - 2 * b + c - 1e-9), -1, 1)[:, None]
        side = np.where(step > 0, flat[rows, best + 1], flat[rows, best - 1])
        return flat[rows, best] + np.abs(step) * (side - flat[rows, best])

    def _place(self, latents: dict) -> "_Place":
        spot = self.scene(int(latents["scene"]))
        angles = [_ANGLE * float(latents[name]) for name in ("yaw", "pitch", "roll")]
        unit = spot.scale * min(self.height, self.width) * ZOOM
        middle = np.array([0.5 * self.width, 0.52 * self.height]) * ZOOM
        drift = np.asarray(latents["drift"]) * unit
        stand = spot.stand * min(self.height, self.width) * ZOOM
        return _Place(angles, unit, middle + stand + drift * (1, 0.6))

    def _draw(self, latents, place, landmarks, time: float):
        spot = self.scene(int(latents["scene"]))
        away = np.asarray(latents["drift"]) * 0.12
        canvas = scene.backdrop(spot, time, away, self.height, self.width, ZOOM)
        shade = np.full(canvas.shape[:2], int(0.92 * _UNIT_SHADE), np.uint8)
        light = self._light(latents, spot)
        if self.person.look.style == "long":
            self._long_hair(canvas, place, behind=True)
        self._clothe(canvas, shade, place, light, spot)
        if self.person.look.style == "long":
            self._long_hair(canvas, place, behind=False)
        self._head(canvas, shade, latents, place, landmarks, light, spot)
        self._occlude(canvas, shade, latents, place, spot, time)
        return canvas, shade

    def _head(self, canvas, shade, latents, place, landmarks, light, spot) -> None:
        who = self.person
        mouth = min(1.0, max(0.0, float(latents["mouth"])))
        radius, normals = (_mix(pair, mouth) for pair in (who.radius, who.normals))
        view = surface.look(radius, place.rotation, place.centre, place.unit)
        lit = self._lit(normals, light @ place.rotation, spot)
        fixed = cv2.convertMaps(view.maps, None, cv2.CV_16SC2)
        skin = cv2.remap(who.albedo, *fixed, cv2.INTER_LINEAR)
        tone = cv2.remap(lit, *fixed, cv2.INTER_LINEAR)
        mask = cv2.compare(view.inside, 0, cv2.CMP_GT)
        self._features(skin, latents, place, landmarks * ZOOM + 0.5 - view.corner)
        _stick(canvas, skin, mask, view.corner)
        _stick(shade, tone, mask, view.corner)
        if who.look.glasses != "none":
            self._glasses(canvas, place)

    def _lit(self, normals, light, spot) -> np.ndarray:
        facing = cv2.transform(normals, light[None].astype(np.float32))
        steps = cv2.convertScaleAbs(np.maximum(facing, -0.25), alpha=200, beta=50)
        level = (np.arange(256) - 50) / 200
        tone = np.maximum(level + 0.25, 0) / 1.25 * spot.contrast + 0.98 - spot.contrast
        tone = np.stack([tone, np.maximum(level, 0) ** 16], -1) * _UNIT_SHADE
        table = np.clip(tone @ (1, 0.12), 0, 255).astype(np.uint8)
        return cv2.multiply(cv2.LUT(steps, table), self.person.dark, scale=1 / 255)

    def _features(self, skin, latents, place, points) -> None:
        look, unit = self.person.look, place.unit
        turn = -place.rotation[:2, 2]
        turn = np.array([turn[0] * -0.5, turn[1] * -0.3])
        closed = float(latents["eyes"])
        for parts in draw.EYES:
            draw.eye(skin, points, parts, look, unit, latents["gaze"], closed, turn)
        draw.mouth(skin, points, look, unit)
        draw.brow(skin, points[17:22], look, unit)
        draw.brow(skin, points[22:27], look, unit)

    def _glasses(self, canvas, place) -> None:
        marks = self.person.shape.landmarks
        eyes = [marks[36:42].mean(0), marks[42:48].mean(0)]
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        power = 0.45 if self.person.look.glasses == "square" else 0.9
        cos, sin = np.cos(angle), np.sin(angle)
        wide = np.sign(cos) * np.abs(cos) ** power * 0.29
        tall = np.sign(sin) * np.abs(sin) ** power * (0.19 if power < 0.5 else 0.25)
        rims, hinges = [], []
        for eye, side in zip(eyes, (-1, 1)):
            away = np.abs(wide * side + 0.29) * 0.22
            rim = np.stack([wide, tall, 0.13 - away * (wide * side > -0.1)], 1)
            rims.append(place.project(eye + (0, 0.03, 0.06) + rim))
            hinges.append(eye + (side * 0.29, -0.02, 0.06))
        near = 0 if place.rotation[0, 2] > 0 else 1
        ear = np.array([(-1, 1)[near] * 1.04, -0.12, -0.2])
        temple = None
        if abs(place.rotation[0, 2]) > 0.08:
            temple = place.project(np.stack([hinges[near], ear]))
        draw.glasses(canvas, rims, temple, self.person.look, place.unit)

    def _clothe(self, canvas, shade, place, light, spot) -> None:
        wear = self._dress.scaled(place.unit)
        corner = place.neck + place.unit * np.array([-dress.WIDTH, dress.TOP])
        slope = (np.arange(256) - 128) / 127
        facing = slope * light[0] + np.sqrt(np.maximum(1 - slope**2, 0)) * light[2]
        tone = np.maximum(facing + 0.25, 0) / 1.25 * spot.contrast
        table = np.clip((tone + 0.98 - spot.contrast) * _UNIT_SHADE, 0, 255)
        corner = np.round(corner).astype(int).tolist()
        _stick(canvas, wear.picture, wear.mask, corner)
        _stick(shade, cv2.LUT(wear.bend, table.astype(np.uint8)), wear.mask, corner)

    def _long_hair(self, canvas, place, behind: bool) -> None:
        colour = self.person.look.hair * (0.7 if behind else 0.95)
        if behind:
            outline = np.concatenate([_BACK, (_BACK * (-1, 1, 1))[::-1]])
            draw.fill(canvas, place.project(outline), colour)
            return
        for side in (-1, 1):
            lock = place.project(_LOCK * (side, 1, 1))
            draw.fill(canvas, lock, colour)
            for share, tone in ((0.25, 1.2), (0.5, 0.8), (0.75, 1.12)):
                strand = lock[:5] + share * (lock[:4:-1] - lock[:5])
                draw.stroke(canvas, strand, tone * colour, 0.03 * place.unit)

    def _occlude(self, canvas, shade, latents, place, spot, time: float) -> None:
        rise = float(latents["occluder"])
        if rise <= 0:
            return
        item = self._items[int(self._wave[0] * 100 + int(latents["scene"])) % 3]
        sway = np.sin(1.7 * time + self._wave[1:3]) * (0.14, 0.07)
        goal = np.array([0.25 * np.sin(self._wave[3]), 0.72]) + sway
        start = goal + (0.5, 2.6)
        spot_at = place.centre + place.unit * (start + rise * (goal - start))
        angle = 8 * math.sin(1.1 * time + self._wave[1])
        tone = int(0.95 * _UNIT_SHADE)
        occluder.paste(canvas, shade, item, spot_at, place.unit, angle, tone)

    def _light(self, latents, spot) -> np.ndarray:
        turn = spot.light_turn + 0.7 * float(latents["light"])
        up = spot.light_height
        light = np.array([math.sin(turn), -up, max(0.25, math.cos(turn))])
        return light / np.linalg.norm(light)

    def _curve(self, latents) -> np.ndarray:
        spot = self.scene(int(latents["scene"]))
        gain = spot.exposure * 2.0 ** (0.5 * float(latents["light"]))
        warm = spot.warmth + 0.06 * float(latents["tint"])
        gains = gain * np.array([1 + warm, 1.0, 1 - warm])
        level = np.arange(256)[:, None] / _UNIT_SHADE
        # Shadows on skin are warmer than its lit side.
        table = _UNIT_SHADE * gains * level**_WARM
        return np.clip(table, 0, 255).astype(np.uint8)[None]

    def _sense(self, image: np.ndarray) -> np.ndarray:
        row, column = self._noise_at.integers(0, 32, 2)
        noise = self._noise[row : row + self.height, column : column + self.width]
        return cv2.add(image, noise, dtype=cv2.CV_8U)


class _Place:
    """Hold the pose of the head on the canvas."""

    def __init__(self, angles, unit: float, middle: np.ndarray):
        self.rotation = surface.rotation(*angles)
        self.roll = angles[2]
        self.unit = unit
        # The head turns about the top of the neck, not about its own centre.
        moved = _PIVOT - self.rotation @ _PIVOT
        self.neck = middle + unit * (0.35 * moved[:2] + (0, 0.95))
        self.centre = middle + unit * moved[:2]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return the canvas pixels [N, 2] of head points [N, 3]."""
        return self.centre + self.unit * (points @ self.rotation.T)[:, :2]


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


def _blur(image: np.ndarray, speed) -> np.ndarray:
    # Half the frame time is exposed.
    length = 0.5 * float(np.hypot(*speed))
    if length < 0.75:
        return image
    size = int(math.ceil(length)) | 1
    size = max(3, min(size, 15))
    kernel = np.zeros((size, size), np.float32)
    direction = np.asarray(speed) / np.hypot(*speed)
    for share in np.linspace(-0.5, 0.5, 4 * size):
        x, y = direction * share * min(length, size - 1) + size // 2
        kernel[int(round(y)), int(round(x))] += 1
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def _grain(rng, height: int, width: int) -> np.ndarray:
    sigma = rng.uniform(1.0, 4.0)
    noise = rng.normal(0, sigma, (height + 32, width + 32, 1))
    colour = rng.normal(0, 0.5 * sigma, (height + 32, width + 32, 3))
    return np.round(noise + colour).astype(np.int16)


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
    ]
    + [
        (0.78, 2.1, 0.0),
        (0.72, 1.6, 0.0),
        (0.72, 1.2, -0.1),
        (0.82, 0.7, -0.25),
        (0.92, 0.2, -0.3),
    ]
)
