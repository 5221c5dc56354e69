"""The first convolution of a network that compares two frames.

B examples, H x W pixels.
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.models import layers
from jaxseg.ops import convolution
from jaxseg.types import Array


class PairConv(nn.Module):
    """A convolution of two images on top of one another, whole or by halves."""

    features: int
    kernel_size: int
    stride: int

    def setup(self):
        shape = (self.kernel_size, self.kernel_size, 6, self.features)
        self.kernel = self.param("kernel", layers.he_init, shape)
        self.bias = self.param("bias", nn.initializers.zeros, (self.features,))

    def __call__(self, pair: Array) -> Array:
        """Convolve a pair [B, H, W, 6]."""
        return self._convolve(pair, self.kernel) + self.bias

    def halves(self, first: Array, second: Array) -> Array:
        """Convolve frames [B, H, W, 3] in the first and others in the second place."""
        kernels = self.kernel[:, :, :3], self.kernel[:, :, 3:]
        if first is second:
            return self._convolve(first, jnp.concatenate(kernels, -1))
        halves = [self._convolve(x, k) for x, k in zip((first, second), kernels)]
        return jnp.concatenate(halves, -1)

    def offset(self) -> Array:
        """Return the bias."""
        return self.bias

    def _convolve(self, x: Array, kernel: Array) -> Array:
        padding = (((self.kernel_size - 1) // 2,) * 2,) * 2
        return convolution.conv(x, kernel, self.stride, padding=padding)
