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
    rule: str = "corners",
) -> Array:
    """Return the mean posterior [B, H, W, C] of `images` over scales and mirrors.

    At each scale the logits are resized to the full size first, the softmax comes
    second and the mean last; the label is the argmax of the last axis.

    Args:
      logits_fn: images [B, H', W', 3] of any size to logits [B, h', w', C]. Jitted, it
        is compiled once per scale.
      images: [B, H, W, 3], RGB in 0..255.
      scales: of the image, for example (0.5, 0.75, 1.0, 1.25, 1.5, 1.75).
      flip: use the mirrored images too.
      rule: how logits lie on the image, `Segmenter.RULE`; images are resized by it too.

    Raises:
      ValueError: no scales.
    """
    if not scales:
        raise ValueError("no scales; expected one or more numbers above 0")
    images = layers.images_to_float(images)
    found = []
    for scale in scales:
        found.append(_posterior(logits_fn, images, scale, rule))
        if flip:
            mirrored = _posterior(logits_fn, images[:, :, ::-1], scale, rule)
            found.append(mirrored[:, :, ::-1])
    return sum(found) / len(found)


def _posterior(logits_fn, images: Array, scale: float, rule: str) -> Array:
    """Return the posterior [B, H, W, C] of images seen at one scale."""
    size = images.shape[1:3]
    scaled = tuple(scale_dimension(length, scale) for length in size)
    logits = logits_fn(_resize(images, scaled, rule))
    grid = logits.shape[1:3]
    if scale < 1:
        # The source merges logits on the grid of the full image before it resizes
        # them to its pixels, which shows where the two grids do not nest.
        grid = jax.eval_shape(logits_fn, images).shape[1:3]
    return _upsampled(logits, grid, size, rule)


# One program each, where a caller runs networks one after another outside jit.
_resize = jax.jit(resize.resize_bilinear, static_argnums=(1, 2))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _upsampled(logits: Array, grid: resize.Size, size: resize.Size, rule: str) -> Array:
    logits = resize.resize_bilinear(logits, grid, rule)
    logits = resize.resize_bilinear(logits, size, rule)
    return jax.nn.softmax(logits, axis=-1)
