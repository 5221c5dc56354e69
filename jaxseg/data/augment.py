"""Random scale, pad, crop and flip of an image with its labels, on the host.

Source of the rules: tensorflow/models, research/deeplab, input_preprocess.py (scales
0.5, 0.75 .. 2.0, padding below and right with the mean pixel, crop, flip 0.5).
What is the mean pixel depends on the network.
Images are uint8 [H, W, 3], labels uint8 [H, W].
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.data import classes, scaling

GREY = (127, 127, 127)  # the mean pixel 127.5 of DeepLab, in whole numbers


class Augmentation(NamedTuple):
    """Hold what may happen to an example; brightness and contrast are off at 0."""

    min_scale: float = 0.5
    max_scale: float = 2.0
    scale_step: float = 0.25  # 0 draws any scale between
    flip: float = 0.5  # probability
    brightness: float = 0.0  # largest shift, as a share of 255
    contrast: float = 0.0  # largest relative change about the image's mean
    # Height and width that are cut from frames at their own size; empty = frames are
    # resized to the network's size, and crops have that size.
    crop: Sequence[int] = ()
    pad: Sequence[int] = ()  # RGB about smaller images; empty = `GREY`


DEEPLAB = Augmentation()


def augment(
    rng: np.random.Generator,
    image: np.ndarray,
    label: np.ndarray,
    size: tuple[int, int],
    how: Augmentation = DEEPLAB,
) -> tuple[np.ndarray, np.ndarray]:
    """Return one example scaled, padded, cropped to `size` (h, w), perhaps flipped."""
    scale = _draw_scale(rng, how)
    scaled = tuple(max(round(side * scale), 1) for side in label.shape)
    image = scaling.pad(scaling.resize_image(image, scaled), size, how.pad or GREY)
    label = scaling.pad(scaling.resize_labels(label, scaled), size, classes.IGNORE)
    top, left = (
        int(rng.integers(0, have - want + 1))
        for have, want in zip(label.shape, size, strict=True)
    )
    window = np.s_[top : top + size[0], left : left + size[1]]
    image, label = image[window], label[window]
    if rng.random() < how.flip:
        image, label = image[:, ::-1], label[:, ::-1]
    return _jitter(rng, image, how), np.ascontiguousarray(label)


def augment_batch(
    rng: np.random.Generator,
    images: np.ndarray,
    labels: np.ndarray,
    size: tuple[int, int],
    how: Augmentation = DEEPLAB,
) -> tuple[np.ndarray, np.ndarray]:
    """Augment images [B, H, W, 3] and labels [B, H, W], each on its own, to `size`.

    Every example has a generator of its own, so that one does not depend on how much
    another drew.
    """
    generators = rng.spawn(len(images))
    examples = [
        augment(generator, image, label, size, how)
        for generator, image, label in zip(generators, images, labels, strict=True)
    ]
    return np.stack([e[0] for e in examples]), np.stack([e[1] for e in examples])


def _draw_scale(rng: np.random.Generator, how: Augmentation) -> float:
    if not how.scale_step:
        return rng.uniform(how.min_scale, how.max_scale)
    steps = round((how.max_scale - how.min_scale) / how.scale_step)
    return how.min_scale + how.scale_step * int(rng.integers(0, steps + 1))


def _jitter(
    rng: np.random.Generator, image: np.ndarray, how: Augmentation
) -> np.ndarray:
    if not (how.brightness or how.contrast):
        return np.ascontiguousarray(image)
    shift = 255 * rng.uniform(-how.brightness, how.brightness)
    gain = 1 + rng.uniform(-how.contrast, how.contrast)
    mean = image.mean()
    changed = (image.astype(np.float32) - mean) * gain + mean + shift
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)
