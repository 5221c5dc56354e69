"""What convolutions and poolings of images [B, H, W, C] consist of.

Frameworks other than XLA have them with the channels in front.
"""

from typing import NamedTuple

import numpy as np

from jaxseg.benchmark.peers import graph

_IMAGES = (0, 3, 1, 2)  # where batch, channels, height and width are

Pads = list[tuple[int, int]]  # before and behind, of height and width


class Upsampling(NamedTuple):
    """A convolution of an input with zeros between its pixels."""

    strides: tuple[int, int]
    rates: tuple[int, int]
    cuts: Pads  # off the whole result; below 0 where it has to grow


class Pooling(NamedTuple):
    """Windows over height and width."""

    window: tuple[int, int]
    strides: tuple[int, int]
    pads: Pads


def check_convolution(node: graph.Node) -> None:
    """Raise NotImplementedError where no framework has such a convolution."""
    numbers = node.params["dimension_numbers"]
    is_image = tuple(numbers.lhs_spec) == tuple(numbers.out_spec) == _IMAGES
    if not is_image or node.params["batch_group_count"] != 1:
        raise NotImplementedError("no convolution of anything but [B, H, W, C]")
    if any(isinstance(x, graph.Node) for x in node.inputs[1:]):
        raise NotImplementedError("no convolution with weights that are computed")


def is_transposed(node: graph.Node) -> bool:
    """Say whether a convolution has zeros between the pixels of its input."""
    return set(node.params["lhs_dilation"]) != {1}


def kernel(node: graph.Node) -> np.ndarray:
    """Return the kernel of a convolution as other frameworks have it.

    [O, I / groups, kh, kw], or [I, O, kh, kw] for a transposed one.
    """
    array = np.transpose(node.inputs[1], node.params["dimension_numbers"].rhs_spec)
    if not is_transposed(node):
        return array
    return np.flip(array, (2, 3)).swapaxes(0, 1)


def upsampling(node: graph.Node) -> Upsampling:
    """Turn the pads around a dilated input into what is cut off the whole result."""
    params = node.params
    if params["feature_group_count"] != 1 or set(params["window_strides"]) != {1}:
        raise NotImplementedError("no transposed convolution with groups or strides")
    sides, rates = kernel(node).shape[2:], params["rhs_dilation"]
    reach = [(side - 1) * rate for side, rate in zip(sides, rates)]
    cuts = [
        (all_ - low, all_ - high) for all_, (low, high) in zip(reach, params["padding"])
    ]
    return Upsampling(tuple(params["lhs_dilation"]), tuple(rates), cuts)


def pooling(node: graph.Node) -> Pooling:
    """Return the windows of a pooling."""
    params = node.params
    window, strides = params["window_dimensions"], params["window_strides"]
    dilated = {*params["base_dilation"], *params["window_dilation"]} != {1}
    outer = [(window[i], strides[i], *params["padding"][i]) for i in (0, -1)]
    if len(node.shape) != 4 or dilated or set(outer) != {(1, 1, 0, 0)}:
        raise NotImplementedError("no pooling of anything but height and width")
    pads = [tuple(pair) for pair in params["padding"][1:3]]
    return Pooling(tuple(window[1:3]), tuple(strides[1:3]), pads)


def padding(node: graph.Node) -> tuple[Pads, float]:
    """Return the pads of every axis of a padding, and the value put there."""
    _, value = node.inputs
    config = node.params["padding_config"]
    if any(inner for *_, inner in config) or isinstance(value, graph.Node):
        raise NotImplementedError("no padding between pixels or with computed values")
    return [tuple(pair[:2]) for pair in config], value.item()
