"""Backward warping: bring the key frame's values to the current frame.

H x W pixels, C channels. One example; `jax.vmap` it for a batch.
"""

import jax.numpy as jnp

from jaxseg.types import Array

BORDERS = ("clamp", "zero")


def warp(x: Array, flow: Array, border: str = "clamp") -> Array:
    """Sample `x` [H, W, C] bilinearly at pixel + flow [H, W, 2] (x, y): [H, W, C].

    With `x` of the key frame and the flow from the current frame to the key frame,
    the result is aligned with the current frame. `border` says what lies outside:
    "clamp" repeats the edge (XUSean0118/DVSNet: tools/flow_utils.py), "zero" lets
    every tap outside count as zero (Deep Feature Flow's BilinearSampler, grid_sample).
    Differentiable in `x` and in `flow`. Raises ValueError for another border.
    """
    if border not in BORDERS:
        raise ValueError(f"border {border!r}; expected 'clamp' or 'zero'")
    height, width = x.shape[:2]
    columns = jnp.arange(width, dtype=flow.dtype) + flow[..., 0]
    rows = jnp.arange(height, dtype=flow.dtype)[:, None] + flow[..., 1]
    row_taps = _taps(rows, height, border)
    column_taps = _taps(columns, width, border)
    pixels = x.reshape(height * width, -1)
    total = 0.0
    for row, row_weight in row_taps:
        for column, column_weight in column_taps:
            weight = (row_weight * column_weight)[..., None].astype(x.dtype)
            taken = jnp.take(pixels, row * width + column, axis=0, mode="clip")
            total = total + weight * taken
    return total


def _taps(position: Array, length: int, border: str) -> list[tuple[Array, Array]]:
    """Return the two (index, weight) pairs of every sample position on one axis."""
    # Beyond one pixel outside every weight is zero, so this bound changes nothing for
    # "zero" and keeps wild flows from overflowing the integer index.
    bounds = (0, length - 1) if border == "clamp" else (-1, length)
    position = jnp.clip(position, *bounds)
    low = jnp.floor(position)
    fraction = position - low
    taps = []
    for index, weight in ((low, 1 - fraction), (low + 1, fraction)):
        if border == "zero":
            weight = jnp.where((index >= 0) & (index <= length - 1), weight, 0)
        index = jnp.clip(index, 0, length - 1).astype(jnp.int32)
        taps.append((index, weight))
    return taps
