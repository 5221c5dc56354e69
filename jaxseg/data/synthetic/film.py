"""What a camera does to a picture: motion blur and sensor noise."""

import math

import numpy as np

from jaxseg.data.opencv import cv2


def blur(image: np.ndarray, speed, centre, unit: float) -> np.ndarray:
    """Smear the head about `centre` (x, y), of `unit` pixels, along its motion."""
    # Half the frame time is exposed; the place behind the head stands still.
    length = 0.5 * float(np.hypot(*speed))
    if length < 0.75:
        return image
    size = max(3, min(int(math.ceil(length)) | 1, 31))
    direction = np.asarray(speed) / np.hypot(*speed) * min(length, size - 1)
    kernel = np.zeros((size, size), np.float32)
    for share in np.linspace(-0.5, 0.5, 4 * size):
        x, y = direction * share + size // 2
        kernel[int(round(y)), int(round(x))] += 1
    smeared = cv2.filter2D(image, -1, kernel / kernel.sum())
    height, width = image.shape[:2]
    x = (np.arange(width, dtype=np.float32) - centre[0]) / (1.35 * unit)
    y = (np.arange(height, dtype=np.float32)[:, None] - centre[1]) / (1.6 * unit)
    near = np.clip(5 - 4 * (x * x + y * y), 0, 1).astype(np.float32)
    return cv2.blendLinear(smeared, image, near, 1 - near)


def grain(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return a plate of noise [height + 32, width + 32, 3] int16 to cut frames from."""
    sigma = rng.uniform(0.6, 3.0)
    noise = rng.normal(0, sigma, (height + 32, width + 32, 1))
    colour = rng.normal(0, 0.5 * sigma, (height + 32, width + 32, 3))
    return np.round(noise + colour).astype(np.int16)
