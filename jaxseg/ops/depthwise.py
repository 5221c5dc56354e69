"""Depthwise convolution in two exactly equal forms.

XLA's own grouped convolution is 14 to 80 times slower on a CPU than a sum of shifted
products, so the platform chooses unless the caller does.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops import forms
from jaxseg.types import Array

Padding = str | tuple[tuple[int, int], tuple[int, int]]


def depthwise_conv(
    x: Array,
    kernel: Array,
    stride: int = 1,
    rate: int = 1,
    padding: Padding = "SAME",
    impl: str = "auto",
) -> Array:
    """Convolve every channel of `x` [B, H, W, C] with its own `kernel` [kh, kw, 1, C].

    `padding` is "SAME", "VALID" or explicit pairs. `impl` is "shift", "lax" or "auto"
    ("shift" on a CPU). Raises ValueError for another.
    """
    pads = explicit_pads(x, kernel, stride, rate, padding)
    if impl == "auto":
        impl = "shift" if forms.for_cpu() else "lax"
    if impl == "shift":
        return _shift(x, kernel, stride, rate, pads)
    if impl == "lax":
        return _lax(x, kernel, stride, rate, pads)
    raise ValueError(f"impl {impl!r}; expected 'auto', 'shift' or 'lax'")


def explicit_pads(
    x: Array, kernel: Array, stride: int, rate: int, padding: Padding
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the pads of `x` [B, H, W, C], before and behind, that `padding` means."""
    if not isinstance(padding, str):
        return tuple(tuple(pair) for pair in padding)
    extent = [(k - 1) * rate + 1 for k in kernel.shape[:2]]
    return tuple(lax.padtype_to_pads(x.shape[1:3], extent, (stride,) * 2, padding))


def _lax(x, kernel, stride, rate, pads):
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=pads,
        rhs_dilation=(rate, rate),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _shift(x, kernel, stride, rate, pads):
    return _weighted_taps(x, kernel, stride, rate, pads)


def _shift_forward(x, kernel, stride, rate, pads):
    # Left to itself, differentiation would keep every shifted copy of x.
    return _shift(x, kernel, stride, rate, pads), (x, kernel)


def _shift_backward(stride, rate, pads, residuals, gradient):
    x, kernel = residuals

    def of_x(x):
        return _weighted_taps(x, kernel, stride, rate, pads)

    (x_gradient,) = jax.linear_transpose(of_x, x)(gradient)
    return x_gradient, _kernel_gradient(x, gradient, kernel.shape, stride, rate, pads)


def _kernel_gradient(x, gradient, shape, stride, rate, pads):
    """Sum tap * gradient over examples first: 5 times faster than over all at once.

    XLA vectorises a reduction of shifted slices badly; sums of whole maps it does well.
    """

    def add_example(sums, example):
        x, gradient = example
        taps = _taps(x[None], shape, stride, rate, pads)
        return [s + tap[0] * gradient for s, tap in zip(sums, taps)], None

    zero = jnp.zeros_like(gradient[0])
    sums, _ = lax.scan(add_example, [zero] * (shape[0] * shape[1]), (x, gradient))
    return jnp.stack([s.sum((0, 1)) for s in sums]).reshape(shape)


_shift.defvjp(_shift_forward, _shift_backward)


def _weighted_taps(x, kernel, stride, rate, pads):
    taps = _taps(x, kernel.shape, stride, rate, pads)
    weights = kernel.reshape(-1, kernel.shape[-1])
    return sum(tap * weight for tap, weight in zip(taps, weights))


def _taps(x, shape, stride, rate, pads):
    """Return the kh * kw shifted copies of padded `x`, in the order of the kernel."""
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    height, width = (
        (length - (extent - 1) * rate - 1) // stride
        for length, extent in zip(x.shape[1:3], shape[:2])
    )
    return [
        x[
            :,
            i * rate : i * rate + height * stride + 1 : stride,
            j * rate : j * rate + width * stride + 1 : stride,
        ]
        for i in range(shape[0])
        for j in range(shape[1])
    ]
