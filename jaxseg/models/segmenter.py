"""The image segmentation network N, cut into N_feat and N_task.

B examples, H x W pixels, h x w features, C classes.
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.ops import resize
from jaxseg.types import Array


class Segmenter(nn.Module):
    """What every segmentation network has in common.

    A subclass maps `images` [B, H, W, 3], RGB in 0..255, and `train` to logits
    [B, h, w, C] on a grid of its own that covers the image corner to corner.
    """

    # Modules that depend on the number of classes.
    HEAD = ("logits",)

    def features(self, images: Array) -> Array:
        """Return the posterior [B, h, w, C] of `images`: N_feat, in inference mode."""
        return nn.softmax(self(images), axis=-1)


def task(features: Array, size: tuple[int, int]) -> Array:
    """Return scores [..., H, W, C] of `features` [..., h, w, C]: N_task.

    Align-corners upsampling to `size`; the label is the argmax of the last axis.
    """
    return resize.resize_bilinear(features, size)


def labels(features: Array, size: tuple[int, int]) -> Array:
    """Return the class map uint8 [..., H, W] of features [..., h, w, C]."""
    return task(features, size).argmax(-1).astype(jnp.uint8)
