"""Bilinear resizing by the rules of different sources.

H x W: source pixels; h x w: wanted pixels; C channels. RULES say where wanted pixel i
of n samples N source pixels: "corners" at i (N - 1) / (n - 1), "half_pixel" at
(i + 1/2) N / n - 1/2, "legacy" at i N / n, none of them beyond the outermost pixels.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.types import Array

Size = tuple[int, int]
RULES = ("corners", "half_pixel", "legacy")


def resize_bilinear(x: Array, size: Size, rule: str = "corners") -> Array:
    """Resize `x` [..., H, W, C] to [..., h, w, C].

    "corners" keeps the corner pixels in place, as every resize inside DeepLab does
    (tensorflow/models: research/deeplab/model.py); a wanted length of 1 takes the
    first pixel. "half_pixel" is torch's (align_corners False) and Caffe's Resample of
    FlowNet 2.0 where it enlarges. "legacy" is TensorFlow 1's without align_corners, as
    in DVSNet. Differentiable in reverse mode. The result has the type of `x`;
    bfloat16 is interpolated in float32. Raises ValueError for another rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule {rule!r}; expected one of: {', '.join(RULES)}")
    wide = x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x
    found = _resize_axis(_resize_axis(wide, size[0], -3, rule), size[1], -2, rule)
    return found.astype(x.dtype)


def resize_flow(flow: Array, size: Size) -> Array:
    """Resize `flow` [..., H, W, 2] (x, y) and express it in pixels of the new grid.

    u is multiplied by (w - 1) / (W - 1), v by (h - 1) / (H - 1); an axis of one
    pixel has no length, so its component is left alone.
    """
    old_height, old_width = flow.shape[-3:-1]
    factors = [_ratio(size[1], old_width), _ratio(size[0], old_height)]
    return resize_bilinear(flow, size) * jnp.asarray(factors, flow.dtype)


def shrink(image: Array, size: tuple[int, int]) -> Array:
    """Resize an image [H, W, C], averaging over pixels where it becomes smaller."""
    if image.shape[:2] == size:
        return image
    image = image.astype(jnp.float32)
    return jax.image.resize(image, (*size, image.shape[2]), "linear", antialias=True)


def halve(x: Array) -> Array:
    """Average `x` [..., H, W, C] over 2 x 2 pixels: [..., ceil(H/2), ceil(W/2), C].

    Where a side is odd, its last mean has the pixels that are there (MXNet's pooling
    with the "full" convention, in Deep Feature Flow).
    """
    height, width, channels = x.shape[-3:]
    pads = [(0, 0)] * (x.ndim - 3) + [(0, height % 2), (0, width % 2), (0, 0)]
    x = jnp.pad(x, pads, mode="edge")
    half = ((height + 1) // 2, (width + 1) // 2)
    x = x.reshape(*x.shape[:-3], half[0], 2, half[1], 2, channels)
    return x.mean((-4, -2))


def _ratio(new: int, old: int) -> float:
    return (new - 1) / (old - 1) if old > 1 and new > 1 else 1.0


@functools.lru_cache(maxsize=256)
def _taps(old: int, new: int, rule: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two source indices of every wanted pixel and the second's weight."""
    position = _positions(old, new, rule)
    low = np.minimum(np.floor(position + 1e-9), old - 1).astype(np.int32)
    high = np.minimum(low + 1, old - 1).astype(np.int32)
    return low, high, np.clip(position - low, 0.0, 1.0).astype(np.float32)


def _positions(old: int, new: int, rule: str) -> np.ndarray:
    if rule == "corners":
        return np.arange(new) * ((old - 1) / (new - 1) if new > 1 else 0.0)
    offset = 0.5 if rule == "half_pixel" else 0.0
    return np.clip((np.arange(new) + offset) * (old / new) - offset, 0, old - 1)


@functools.lru_cache(maxsize=256)
def _reverse_taps(old: int, new: int, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Return, for every source pixel, the wanted pixels that read it, and how much.

    Both are [taps, old]; pixels with few readers name others too, at weight 0.
    """
    low, high, weight = _taps(old, new, rule)
    matrix = np.zeros((old, new), np.float32)
    np.add.at(matrix, (low, np.arange(new)), 1 - weight)
    np.add.at(matrix, (high, np.arange(new)), weight)
    readers = max(1, int((matrix > 0).sum(1).max()))
    indices = np.argsort(matrix == 0, axis=1, kind="stable")[:, :readers]
    return indices.T, np.take_along_axis(matrix, indices, 1).T


def _resize_axis(x: Array, new: int, axis: int, rule: str) -> Array:
    if x.shape[axis] == new:
        return x
    return _interpolate(x, x.shape[axis], new, axis, rule)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _interpolate(x: Array, old: int, new: int, axis: int, rule: str) -> Array:
    low, high, weight = _taps(old, new, rule)
    weight = _column(weight, axis).astype(x.dtype)
    first = jnp.take(x, low, axis=axis, mode="clip")
    second = jnp.take(x, high, axis=axis, mode="clip")
    return first + (second - first) * weight


def _interpolate_forward(x: Array, old: int, new: int, axis: int, rule: str):
    return _interpolate(x, old, new, axis, rule), None


def _interpolate_backward(old: int, new: int, axis: int, rule: str, _, gradient: Array):
    # The transpose of a gather is a scatter, which XLA runs one element at a time on
    # a CPU; gathering from the readers of every pixel is 10 times faster.
    indices, weights = _reverse_taps(old, new, rule)
    taps = (
        jnp.take(gradient, index, axis=axis, mode="clip") * _column(weight, axis)
        for index, weight in zip(indices, weights)
    )
    return (sum(taps).astype(gradient.dtype),)


def _column(weight: np.ndarray, axis: int) -> np.ndarray:
    return weight.reshape((-1,) + (1,) * (-axis - 1))


_interpolate.defvjp(_interpolate_forward, _interpolate_backward)
