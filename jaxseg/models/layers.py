"""Blocks shared by the networks.

B examples, H x W pixels, C channels, all arrays [B, H, W, C]. Parameter names are
Flax's (kernel, bias, scale, mean, var); module names are the sources' own, so that a
checkpoint of theirs differs by a short table only. Results have the type of what goes
in, float32 or bfloat16; parameters are float32, see `ops.precision`.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.ops import convolution, depthwise, precision
from jaxseg.types import Array

Initializer = Callable[..., Array]
Activation = Callable[[Array], Array]

LEAK = 0.1  # negative slope in FlowNet 2.0 and in DVSNet

he_init = nn.initializers.variance_scaling(2 / (1 + LEAK**2), "fan_in", "normal")


def leaky_relu(x: Array) -> Array:
    """Apply LeakyReLU with slope 0.1."""
    return jax.nn.leaky_relu(x, LEAK)


def images_to_float(images: Array) -> Array:
    """Return `images` (uint8 or float, 0..255) as float32."""
    return jnp.asarray(images).astype(jnp.float32)


class Conv(nn.Module):
    """Convolve with a square kernel.

    `padding` is that of TensorFlow ("SAME") or the number of zeros on each side; None
    means (kernel_size - 1) / 2.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    use_bias: bool = True
    padding: str | int | None = "SAME"
    rate: int = 1
    kernel_init: Initializer = he_init
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        padding = self.padding
        if padding is None:
            padding = (self.kernel_size - 1) // 2
        if isinstance(padding, int):
            padding = ((padding, padding),) * 2
        x = _convolve(x, kernel, self.stride, padding, self.rate)
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,))
            x = precision.add_bias(x, bias)
        return x


class ConvForLoops(nn.Module):
    """Convolve with an odd, square kernel; for what is trained inside a loop.

    See `convolution.conv_for_loops`.
    """

    features: int
    kernel_size: int = 3

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", he_init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x = precision.product(convolution.conv_for_loops, x, kernel)
        return precision.add_bias(x, bias)


class Deconv(nn.Module):
    """Upsample twofold by a transposed 4x4 convolution, cut to `size` at the end."""

    features: int
    use_bias: bool = False
    kernel_init: Initializer = nn.initializers.variance_scaling(
        # Only 4 of the 16 taps meet any one output pixel.
        4 * 2 / (1 + LEAK**2),
        "fan_in",
        "normal",
        in_axis=-1,
        out_axis=-2,
    )

    @nn.compact
    def __call__(self, x: Array, size: tuple[int, int]) -> Array:
        shape = (4, 4, self.features, x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape)
        deconv = functools.partial(convolution.deconv, size=size)
        x = precision.product(deconv, x, kernel)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x = precision.add_bias(x, bias)
        return x


class Scope(nn.Module):
    """Call the module that `make` returns, one variable scope deeper."""

    make: Callable[[], nn.Module]

    @nn.compact
    def __call__(self, *arguments):
        return self.make()(*arguments)


class ConvNorm(nn.Module):
    """Convolve without bias, normalise over the batch, activate.

    `fixed_padding` is "SAME" that does not depend on the size, see `_padding`.
    """

    features: int
    kernel_size: int = 1
    stride: int = 1
    activation: Activation | None = nn.relu
    epsilon: float = 1e-5
    momentum: float = 0.9997
    kernel_init: Initializer = nn.initializers.xavier_uniform()
    rate: int = 1
    fixed_padding: bool = False

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        padding = _padding(self.kernel_size, self.rate, self.fixed_padding)
        x = _convolve(x, kernel, self.stride, padding, self.rate)
        y = batch_norm(self.epsilon, self.momentum, train)(x)
        y = self.activation(y) if self.activation else y
        return y.astype(x.dtype)


class DepthwiseNorm(nn.Module):
    """Convolve every channel by itself (3x3), normalise over the batch, activate.

    `fixed_padding` is "SAME" that does not depend on the size, see `_padding`.
    """

    stride: int = 1
    rate: int = 1
    activation: Activation | None = nn.relu
    epsilon: float = 1e-5
    momentum: float = 0.9997
    kernel_init: Initializer = nn.initializers.truncated_normal(0.33)
    fixed_padding: bool = False

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        kernel = self.param("kernel", self.kernel_init, (3, 3, 1, x.shape[-1]))
        padding = _padding(3, self.rate, self.fixed_padding)
        conv = functools.partial(
            depthwise.depthwise_conv,
            stride=self.stride,
            rate=self.rate,
            padding=padding,
        )
        x = precision.product(conv, x, kernel)
        y = batch_norm(self.epsilon, self.momentum, train)(x)
        y = self.activation(y) if self.activation else y
        return y.astype(x.dtype)


class Dropout(nn.Module):
    """Drop a share of `x` in training, or wherever a random stream is given.

    Networks are trained with frozen batch norm by `train=False` and a stream "dropout".
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        active = train or self.has_rng("dropout")
        return nn.Dropout(self.rate, deterministic=not active)(x)


def batch_norm(epsilon: float, momentum: float, train: bool) -> nn.Module:
    """Make the "BatchNorm" child of the calling module; its result is float32."""
    return nn.BatchNorm(
        use_running_average=not train,
        epsilon=epsilon,
        momentum=momentum,
        name="BatchNorm",
    )


def _convolve(x, kernel, stride, padding, rate) -> Array:
    conv = functools.partial(
        convolution.conv, stride=stride, padding=padding, rate=rate
    )
    return precision.product(conv, x, kernel)


def _padding(kernel_size: int, rate: int, fixed: bool) -> depthwise.Padding:
    """Return "SAME" or, if `fixed`, pads that put the kernel's middle on a pixel.

    They differ for strides on even sizes, where "SAME" moves on by a pixel. Source of
    the fixed ones: tensorflow/models, research/slim/nets/resnet_utils.py, conv2d_same.
    """
    before, odd = divmod((kernel_size - 1) * rate, 2)
    return ((before, before + odd),) * 2 if fixed else "SAME"
