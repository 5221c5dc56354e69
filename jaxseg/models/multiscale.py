"""Prediction at several scales and mirrored: the mean of the posteriors.

B examples, H x W pixels, C classes, h x w logits of a network's own grid.
Source: tensorflow/models, research/deeplab/model.py, predict_labels_multi_scale.
"""

import functools
from collections.abc import Callable, Sequence

import jax

from jaxseg.models import layers
from jaxseg.ops import resize
from jaxseg.types import Array


def scale_dimension(length: int, scale: float) -> int:
    """Return how many pixels `length` has at a scale that keeps the corners."""
    return int((length - 1) * scale + 1)


def probabilities(
    logits_fn: Callable[[Array], Array],
    images: Array,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Array:
    """Return the mean posterior [B, H, W, C] of `images` over scales and mirrors.

    At each scale the logits are resized to the full size first, the softmax comes
    second and the mean last; the label is the argmax of the last axis.

    Args:
      logits_fn: images [B, H', W', 3] of any size to logits [B, h', w', C] on a grid
        that covers them corner to corner. Jitted, it is compiled once per scale.
      images: [B, H, W, 3], RGB in 0..255.
      scales: of the image, for example (0.5, 0.75, 1.0, 1.25, 1.5, 1.75).
      flip: use the mirrored images too.

    Raises:
      ValueError: no scales.
    """
    if not scales:
        raise ValueError("no scales; expected one or more numbers above 0")
    images = layers.images_to_float(images)
    found = []
    for scale in scales:
        found.append(_posterior(logits_fn, images, scale))
        if flip:
            mirrored = _posterior(logits_fn, images[:, :, ::-1], scale)
            found.append(mirrored[:, :, ::-1])
    return sum(found) / len(found)


def _posterior(logits_fn, images: Array, scale: float) -> Array:
    """Return the posterior [B, H, W, C] of images seen at one scale."""
    size = images.shape[1:3]
    scaled = tuple(scale_dimension(length, scale) for length in size)
    logits = logits_fn(_resize(images, scaled))
    grid = logits.shape[1:3]
    if scale < 1:
        # The source merges logits on the grid of the full image before it resizes
        # them to its pixels, which shows where the two grids do not nest.
        grid = jax.eval_shape(logits_fn, images).shape[1:3]
    return _upsampled(logits, grid, size)


# One program each, where a caller runs networks one after another outside jit.
_resize = jax.jit(resize.resize_bilinear, static_argnums=1)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _upsampled(logits: Array, grid: tuple[int, int], size: tuple[int, int]) -> Array:
    logits = resize.resize_bilinear(resize.resize_bilinear(logits, grid), size)
    return jax.nn.softmax(logits, axis=-1)
