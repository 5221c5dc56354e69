"""The first convolution of a network that compares two frames.

B examples, H x W pixels.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.models import layers
from jaxseg.ops import convolution, precision
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
        """Convolve a pair [B, H, W, 6]; the result has its type."""
        x = precision.product(self._convolution, pair, self.kernel)
        return precision.add_bias(x, self.bias)

    def halves(
        self, first: Array, second: Array, dtype: jnp.dtype = jnp.float32
    ) -> Array:
        """Convolve frames [B, H, W, 3] in the first and others in the second place.

        Frames and kernel are rounded to `dtype`. The result is float32: halves may
        cancel, and are to be added before they are rounded.
        """

        def conv(x, kernel):
            return precision.wide_product(self._convolution, x.astype(dtype), kernel)

        kernels = self.kernel[:, :, :3], self.kernel[:, :, 3:]
        if first is second:
            return conv(first, jnp.concatenate(kernels, -1))
        halves = [conv(x, k) for x, k in zip((first, second), kernels)]
        return jnp.concatenate(halves, -1)

    def offset(self) -> Array:
        """Return the bias."""
        return self.bias

    @property
    def _convolution(self) -> Callable[[Array, Array], Array]:
        padding = (((self.kernel_size - 1) // 2,) * 2,) * 2
        return functools.partial(convolution.conv, stride=self.stride, padding=padding)
