"""Plain and transposed convolutions on NHWC arrays.

B examples, H x W pixels, I input and O output channels.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops import depthwise, forms, winograd
from jaxseg.types import Array


def conv(
    x: Array,
    kernel: Array,
    stride: int = 1,
    padding: depthwise.Padding = "SAME",
    rate: int = 1,
) -> Array:
    """Convolve `x` [B, H, W, I] with `kernel` [kh, kw, I, O], `rate` apart; no bias.

    A 1x1 kernel becomes a product of matrices on every platform; on a CPU few input
    channels become more, and a 3x3 kernel with many takes fewer products, see
    `winograd`; that one has a derivative in reverse mode alone. None of this within
    `forms.plain`.
    """
    if kernel.shape[:2] == (1, 1) and not forms.is_plain():
        if not isinstance(padding, str) and any(map(any, padding)):
            x = jnp.pad(x, [(0, 0), *padding, (0, 0)])
        x = x[:, ::stride, ::stride]
        # Forward and backward, up to twice as fast on a CPU as the convolution.
        y = jnp.dot(x.reshape(-1, x.shape[-1]), kernel[0, 0])
        return y.reshape(*x.shape[:-1], -1)
    features = kernel.shape[-1]
    if x.shape[-1] < 8 and forms.for_cpu():
        x, kernel = _widen(x, kernel)
    elif forms.for_cpu():
        pads = depthwise.explicit_pads(x, kernel, stride, rate, padding)
        if winograd.is_faster(x, kernel, stride, pads, rate):
            return _winograd(x, kernel, pads, rate)
    return _lax(x, kernel, stride, padding, rate)[..., :features]


def conv_for_loops(x: Array, kernel: Array) -> Array:
    """Convolve `x` [B, H, W, I] with an odd `kernel` [kh, kw, I, O], size kept.

    Equal to `conv`, up to rounding. On a CPU it is a product of matrices for every tap,
    because XLA's gradient of a convolution by the kernel is some 20 times slower inside
    a loop than outside. Taps that meet nothing but the padding of a small image are
    left out.
    """
    if not forms.for_cpu():
        return conv(x, kernel)
    reach = [min(k // 2, n - 1) for k, n in zip(kernel.shape, x.shape[1:3])]
    for axis, far in enumerate(reach):
        middle = kernel.shape[axis] // 2
        kernel = lax.slice_in_dim(kernel, middle - far, middle + far + 1, 1, axis)
    height, width = x.shape[1:3]
    padded = jnp.pad(x, [(0, 0), *((far, far) for far in reach), (0, 0)])
    taps = [(i, j) for i in range(kernel.shape[0]) for j in range(kernel.shape[1])]
    return sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in taps)


def deconv(x: Array, kernel: Array, size: tuple[int, int], impl: str = "auto") -> Array:
    """Upsample `x` [B, H, W, I] twofold with a transposed 4x4 `kernel` [4, 4, O, I].

    Stride 2 and one pixel of padding, as in FlowNet; the kernel has TensorFlow's
    conv2d_transpose layout. `size` is 2H or 2H - 1 (likewise W): an odd target keeps
    the top-left part (XUSean0118/DVSNet: tools/flow_utils.py). `impl` is "dot", "lax"
    or "auto" ("dot" on a CPU, where it is up to 10 times faster in training). Raises
    ValueError for another.
    """
    if impl == "auto":
        impl = "dot" if forms.for_cpu() else "lax"
    if impl == "dot":
        return _deconv_dot(x, kernel, size)
    if impl == "lax":
        return _deconv_lax(x, kernel, size)
    raise ValueError(f"impl {impl!r}; expected 'auto', 'dot' or 'lax'")


def _lax(x, kernel, stride, padding, rate):
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=padding,
        rhs_dilation=(rate, rate),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _winograd(x, kernel, pads, rate):
    return winograd.conv(x, kernel, pads, rate)


def _winograd_forward(x, kernel, pads, rate):
    # Left to itself, differentiation would go back through the transforms.
    return _winograd(x, kernel, pads, rate), (x, kernel)


def _winograd_backward(pads, rate, residuals, gradient):
    def direct(x, kernel):
        return _lax(x, kernel, 1, pads, rate)

    return jax.vjp(direct, *residuals)[1](gradient)


_winograd.defvjp(_winograd_forward, _winograd_backward)


def _widen(x, kernel):
    """Add zero channels, to an even number in and at least 24 out.

    Convolutions of images, 3x3 from 3 to 16 or 7x7 from 6 to 12 channels, run 1.4 to
    2.3 times faster so on a CPU, with the same result.
    """
    extra_in = x.shape[-1] % 2
    extra_out = max(0, 24 - kernel.shape[-1])
    x = jnp.pad(x, [(0, 0)] * 3 + [(0, extra_in)])
    return x, jnp.pad(kernel, [(0, 0)] * 2 + [(0, extra_in), (0, extra_out)])


def _deconv_lax(x, kernel, size):
    pads = [(2, 2 - (2 * old - new)) for old, new in zip(x.shape[1:3], size)]
    return lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1],
        window_strides=(1, 1),
        padding=pads,
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWOI", "NHWC"),
    )


def _deconv_dot(x, kernel, size):
    """Take all 16 products of every pixel at once, then add those that meet."""
    batch, height, width, channels = x.shape
    matrix = kernel.transpose(3, 0, 1, 2).reshape(channels, -1)
    products = jnp.dot(x.reshape(-1, channels), matrix)
    products = products.reshape(batch, height, width, 4, 4, kernel.shape[2])
    y = _interleave(products, axis=2, tap_axis=4)
    y = _interleave(y, axis=1, tap_axis=4)
    y = y.reshape(batch, 2 * height, 2 * width, -1)
    return y[:, : size[0], : size[1]]


def _interleave(products, axis, tap_axis):
    """Add the taps along `axis`; its even and odd pixels become the axis behind it.

    Input pixel i sends tap k to output pixel 2i - 1 + k.
    """
    taps = [lax.index_in_dim(products, k, tap_axis, keepdims=False) for k in range(4)]
    even = taps[1] + _shift(taps[3], axis, 1)
    odd = taps[2] + _shift(taps[0], axis, -1)
    return jnp.stack([even, odd], axis + 1)


def _shift(x, axis, distance):
    """Move `x` along `axis`, with zeros from outside."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (distance, -distance, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), pads)
