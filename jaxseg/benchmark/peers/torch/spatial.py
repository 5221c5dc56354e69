"""Convolution, pooling, padding and resizing of images [B, H, W, C] in torch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxseg.benchmark.peers import graph, images

_ORDER = (0, 3, 1, 2)  # torch's, of what is [B, H, W, C] here


def convolve(torch: Any, node: graph.Node) -> Callable:
    """Return conv2d or conv_transpose2d of (x, kernel, bias)."""
    images.check_convolution(node)
    if images.is_transposed(node):
        return _images_of(_transposed(torch, node))
    return _images_of(_plain(torch, node))


def pool(torch: Any, node: graph.Node) -> Callable:
    """Return max_pool2d, or the sum over windows."""
    window, strides, pads = images.pooling(node)
    is_max = node.op == "reduce_window_max"
    lows, border, ceil = [low for low, _ in pads], (), False
    if not all(low == high for low, high in pads) or _beyond(lows, window):
        # A last window may be half outside without a padded copy.
        sizes = node.inputs[0].shape[1:3]
        ceil = is_max and not _beyond(lows, window)
        ceil = ceil and _ceiled(sizes, window, strides, lows) == node.shape[1:3]
        if not ceil:
            border, lows = _border(pads), [0, 0]
    functional = torch.nn.functional
    outside = -np.inf if is_max else 0.0

    def call(x):
        if border:
            x = functional.pad(x, border, value=outside)
        if is_max:
            return functional.max_pool2d(x, window, strides, lows, ceil_mode=ceil)
        return functional.avg_pool2d(x, window, strides, lows, divisor_override=1)

    return _images_of(call)


def pad(torch: Any, node: graph.Node) -> Callable:
    """Return `pad` of (x, value) with a constant value."""
    pads, value = images.padding(node)
    border = _border(pads)
    return lambda x, _: torch.nn.functional.pad(x, border, value=value)


def concatenate(torch: Any, node: graph.Node) -> Callable:
    """Return the images behind one another."""
    axis = _ORDER.index(node.params["dimension"])

    def call(*images):
        images = [x.permute(_ORDER) for x in images]
        return torch.cat(images, axis).permute(0, 2, 3, 1)

    return call


def lay_out(x: Any, layout: Any) -> Any:
    """Return images in a memory format; those that have it are not copied."""
    return x.permute(_ORDER).contiguous(memory_format=layout).permute(0, 2, 3, 1)


def resize(torch: Any, node: graph.Node) -> Callable:
    """Return bilinear interpolation that keeps the corners in place."""
    size, interpolate = node.shape[1:3], torch.nn.functional.interpolate
    return _images_of(
        lambda x: interpolate(x, size, mode="bilinear", align_corners=True)
    )


def mix(torch: Any, node: graph.Node) -> Callable:
    """Return the product of (x, matrix) along the height or the width."""
    if node.params["axis"] == 2:
        return lambda x, matrix: torch.matmul(matrix, x)
    return lambda x, matrix: torch.matmul(matrix, x.flatten(2)).reshape(node.shape)


def _images_of(fn):
    """Return `fn`, which takes and gives [B, C, H, W], for [B, H, W, C]."""
    return lambda x, *rest: fn(x.permute(_ORDER), *rest).permute(0, 2, 3, 1)


def _plain(torch, node):
    functional, params = torch.nn.functional, node.params
    strides, rates = params["window_strides"], params["rhs_dilation"]
    groups, pads = params["feature_group_count"], params["padding"]
    if all(low == high >= 0 for low, high in pads):
        lows, border = [low for low, _ in pads], ()
    else:
        lows, border = [0, 0], _border(pads)

    def call(x, kernel, bias=None):
        if border:
            x = functional.pad(x, border)
        return functional.conv2d(x, kernel, bias, strides, lows, rates, groups)

    return call


def _transposed(torch, node):
    """Cut alike on both sides, and make up for it behind."""
    conv = torch.nn.functional.conv_transpose2d
    strides, rates, cuts = images.upsampling(node)
    lows = [low for low, _ in cuts]
    extra = [max(0, low - high) for low, high in cuts]
    if min(lows) < 0 or any(e >= s for e, s in zip(extra, strides)):
        raise NotImplementedError("no transposed convolution with such pads")
    height, width = node.shape[1:3]

    def call(x, kernel, bias=None):
        y = conv(x, kernel, bias, strides, lows, extra, 1, rates)
        return y[:, :, :height, :width]

    return call


def _border(pads):
    """Return pads as torch lists them, the last axis first."""
    return [x for pair in reversed(pads) for x in pair]


def _beyond(lows, window):
    """Say whether torch's poolings refuse such pads."""
    return any(2 * low > side for low, side in zip(lows, window))


def _ceiled(sizes, window, strides, lows):
    """Return the size of a pooling that rounds up, by torch's rule."""
    found = []
    for size, side, stride, low in zip(sizes, window, strides, lows):
        count = -(-(size + 2 * low - side) // stride) + 1
        # The last window has to begin inside.
        found.append(count - ((count - 1) * stride >= size + low))
    return tuple(found)
