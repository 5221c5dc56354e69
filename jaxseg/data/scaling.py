"""Image and label resizing with one convention: both keep pixel centres aligned."""

import numpy as np

from jaxseg.data.opencv import cv2


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image [H, W, C] to `size` (h, w): by area when smaller, else linear."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    smaller = height <= image.shape[0] and width <= image.shape[1]
    rule = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=rule)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize labels [H, W] to `size` (h, w) by the pixel nearest to each centre."""
    height, width = size
    if labels.shape == (height, width):
        return labels
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def pad(pixels: np.ndarray, size: tuple[int, int], value) -> np.ndarray:
    """Return pixels [H, W, ...] with `value` below and right of them, to `size` (h, w).

    What is larger than that stays so. value: a number, or one for each channel.
    """
    height, width = (max(a, b) for a, b in zip(pixels.shape, size, strict=False))
    if pixels.shape[:2] == (height, width):
        return pixels
    out = np.empty((height, width, *pixels.shape[2:]), pixels.dtype)
    out[:] = value
    out[: pixels.shape[0], : pixels.shape[1]] = pixels
    return out


def fit_within(height: int, width: int, limit: int | None) -> tuple[int, int]:
    """Return (h, w) shrunk, never enlarged, so that neither exceeds `limit`."""
    if limit is None or max(height, width) <= limit:
        return height, width
    scale = limit / max(height, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)
