"""Convolution, pooling, padding and resizing of images [B, H, W, C] in torch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxseg.evaluation.torch_peer import graph

_IMAGES = (0, 3, 1, 2)  # where batch, channels, height and width are


def kernel(node: graph.Node) -> np.ndarray:
    """Return the kernel of a convolution as torch has it.

    [O, I / groups, kh, kw], or [I, O, kh, kw] for a transposed one.
    """
    array = np.transpose(node.inputs[1], node.params["dimension_numbers"].rhs_spec)
    if not _is_transposed(node):
        return array
    return np.flip(array, (2, 3)).swapaxes(0, 1)


def convolve(torch: Any, node: graph.Node) -> Callable:
    """Return conv2d or conv_transpose2d of (x, kernel, bias)."""
    numbers = node.params["dimension_numbers"]
    is_image = tuple(numbers.lhs_spec) == tuple(numbers.out_spec) == _IMAGES
    if not is_image or node.params["batch_group_count"] != 1:
        raise NotImplementedError("no convolution of anything but [B, H, W, C]")
    if any(isinstance(x, graph.Node) for x in node.inputs[1:]):
        raise NotImplementedError("no convolution with weights that are computed")
    if _is_transposed(node):
        return _images_of(_transposed(torch, node))
    return _images_of(_plain(torch, node))


def pool(torch: Any, node: graph.Node) -> Callable:
    """Return max_pool2d, or the sum over windows."""
    params = node.params
    window, strides = params["window_dimensions"], params["window_strides"]
    dilated = {*params["base_dilation"], *params["window_dilation"]} != {1}
    outer = [(window[i], strides[i], *params["padding"][i]) for i in (0, -1)]
    if len(node.shape) != 4 or dilated or set(outer) != {(1, 1, 0, 0)}:
        raise NotImplementedError("no pooling of anything but height and width")
    window, strides, pads = window[1:3], strides[1:3], params["padding"][1:3]
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
    _, value = node.inputs
    config = node.params["padding_config"]
    if any(inner for *_, inner in config) or isinstance(value, graph.Node):
        raise NotImplementedError("no padding between pixels or with computed values")
    border, value = _border([pair[:2] for pair in config]), value.item()
    return lambda x, _: torch.nn.functional.pad(x, border, value=value)


def resize(torch: Any, node: graph.Node) -> Callable:
    """Return bilinear interpolation that keeps the corners in place."""
    size, interpolate = node.shape[1:3], torch.nn.functional.interpolate
    return _images_of(
        lambda x: interpolate(x, size, mode="bilinear", align_corners=True)
    )


def _is_transposed(node):
    return set(node.params["lhs_dilation"]) != {1}


def _images_of(fn):
    """Return `fn`, which takes and gives [B, C, H, W], for [B, H, W, C]."""
    return lambda x, *rest: fn(x.permute(0, 3, 1, 2), *rest).permute(0, 2, 3, 1)


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
    """Turn pads around a dilated input into pads cut off the output."""
    params, conv = node.params, torch.nn.functional.conv_transpose2d
    if params["feature_group_count"] != 1 or set(params["window_strides"]) != {1}:
        raise NotImplementedError("no transposed convolution with groups or strides")
    strides, rates = params["lhs_dilation"], params["rhs_dilation"]
    spec, wanted = params["dimension_numbers"].rhs_spec, node.shape[1:3]
    sides = [node.inputs[1].shape[i] for i in spec[2:]]
    reach = [(side - 1) * rate for side, rate in zip(sides, rates)]
    cuts = [all_ - low for all_, (low, _) in zip(reach, params["padding"])]
    old = node.inputs[0].shape[1:3]
    sizes = [
        (length - 1) * stride - 2 * cut + all_ + 1
        for length, stride, cut, all_ in zip(old, strides, cuts, reach)
    ]
    extra = [max(0, new - size) for new, size in zip(wanted, sizes)]
    if min(cuts) < 0 or any(e >= s for e, s in zip(extra, strides)):
        raise NotImplementedError("no transposed convolution with such pads")
    height, width = wanted

    def call(x, kernel, bias=None):
        y = conv(x, kernel, bias, strides, cuts, extra, 1, rates)
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
