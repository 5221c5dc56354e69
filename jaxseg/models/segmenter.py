"""The image segmentation network N, cut into N_feat and N_task.

B examples, H x W pixels, h x w features, C classes.
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.ops import resize
from jaxseg.types import Array


class Segmenter(nn.Module, kw_only=True):
    """What every segmentation network has in common.

    A subclass maps `images` [B, H, W, 3], RGB in 0..255, and `train` to float32 logits
    [B, h, w, C] on a grid of its own, and says how its source treats them.
    """

    # Of all maps but the logits, see `ops.precision`.
    dtype: jnp.dtype = jnp.float32

    # Modules that depend on the number of classes.
    HEAD = ("logits",)
    # How features lie on the image, see `resize.RULES`: "corners" where the outermost
    # ones belong to the outermost pixels.
    RULE = "corners"
    # Features are probabilities; logits where not.
    POSTERIOR = True
    # The grid on which they are propagated: their own ("features"), to which the flow
    # is resized, or that of the flow ("flow"), to which they are.
    PROPAGATES_ON = "features"

    def features(self, images: Array) -> Array:
        """Return N_feat of `images`, [B, h, w, C], in inference mode.

        The posterior, unless POSTERIOR is off.
        """
        return nn.softmax(self(images), axis=-1)

    @classmethod
    def task(cls, features: Array, size: tuple[int, int]) -> Array:
        """Return scores [..., H, W, C] of `features` [..., h, w, C]: N_task.

        Upsampling to `size` by RULE; the label is the argmax of the last axis. The
        features may have been propagated, and lie on another grid than N's.
        """
        return resize.resize_bilinear(features, size, cls.RULE)

    @classmethod
    def labels(cls, features: Array, size: tuple[int, int]) -> Array:
        """Return the class map uint8 [..., H, W] of features [..., h, w, C]."""
        return cls.task(features, size).argmax(-1).astype(jnp.uint8)
