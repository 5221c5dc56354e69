"""The operations of a graph as functions of torch.

Images are [B, H, W, C] here too, and torch's own order of the axes is a view of them.
Whether they lie in memory in the order of the one or of the other is the layout, a
memory format of torch: channels_last, or contiguous_format, which is its default.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxseg.benchmark.peers import graph, images
from jaxseg.benchmark.peers.torch import axes, spatial

# By their names in jax and in torch.
_SIMPLE = {
    name: name
    for name in (
        *("exp", "log", "log1p", "expm1", "tanh", "abs", "sign", "floor", "ceil"),
        *("sqrt", "rsqrt", "square", "neg", "erf", "sub", "mul", "pow", "lerp"),
        *("eq", "ne", "lt", "le", "gt", "ge"),
    )
} | {
    "add_any": "add",
    "logistic": "sigmoid",
    "max": "maximum",
    "min": "minimum",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "not": "bitwise_not",
}


_OF_IMAGES = ("conv_general_dilated", "reduce_window_max", "reduce_window_sum")


def function(torch: Any, device: str, layout: Any, node: graph.Node) -> Callable:
    """Return the function of those inputs of `node` that are not constant.

    Args:
      torch: the module.
      device: where the constants go.
      layout: the memory format of images and kernels.

    Raises:
      NotImplementedError: an operation, or a form of one, that is not known here.
    """
    if node.op in _SIMPLE:
        fn = getattr(torch, _SIMPLE[node.op])
    elif node.op in _MAKERS:
        fn = _MAKERS[node.op](torch, node)
    else:
        raise NotImplementedError(f"no operation {node.op!r}")
    if node.op in _OF_IMAGES:
        fn = _laid_out(fn, layout)
    if len(node.sources) == len(node.inputs):
        return fn
    slots = [
        _slot(torch, device, layout, node, index) for index in range(len(node.inputs))
    ]

    def call(*dynamic):
        rest = iter(dynamic)
        return fn(*(next(rest) if x is None else x for x in slots))

    return call


def tensor(torch: Any, device: str, array: np.ndarray) -> Any:
    """Return a copy of an array."""
    # np.ascontiguousarray makes a vector of a scalar.
    copy = np.ascontiguousarray(array).reshape(array.shape)
    return torch.tensor(copy, device=device)


def image(torch: Any, device: str, layout: Any, array: np.ndarray) -> Any:
    """Return a copy of an array, in the layout if it is of images."""
    x = tensor(torch, device, array)
    return spatial.lay_out(x, layout) if x.ndim == 4 else x


def _laid_out(fn, layout):
    """Return `fn` for an image in any layout; one in its own is not copied."""
    return lambda x, *rest: fn(spatial.lay_out(x, layout), *rest)


def _slot(torch, device, layout, node, index):
    """Return a constant input; None for another."""
    value = node.inputs[index]
    if isinstance(value, graph.Node):
        return None
    if node.op == "conv_general_dilated" and index == 1:
        kernel = tensor(torch, device, images.kernel(node))
        return kernel.contiguous(memory_format=layout)
    return tensor(torch, device, value)


def _add(torch, node):
    in_place = node.params.get("in_place")
    return (lambda x, y: x.add_(y)) if in_place else torch.add


def _activation(torch, node):
    functional, in_place = torch.nn.functional, node.params.get("in_place", False)
    fn = getattr(functional, node.op)
    if node.op == "leaky_relu":
        slope = node.params["slope"]
        return lambda x: fn(x, slope, inplace=in_place)
    return lambda x: fn(x, inplace=in_place)


def _concatenate(torch, node):
    # Of images, torch keeps the layout if they have its order of the axes.
    is_image = len(node.shape) == 4
    return (spatial if is_image else axes).concatenate(torch, node)


def _div(torch, node):
    is_whole = np.issubdtype(node.dtype, np.integer)
    rounding = "trunc" if is_whole else None
    return lambda x, y: torch.div(x, y, rounding_mode=rounding)


def _power(torch, node):
    exponent = node.params["y"]
    return lambda x: x**exponent


def _select(torch, node):
    if len(node.inputs) != 3 or node.inputs[0].dtype != np.bool_:
        raise NotImplementedError("no choice between more than two")
    return lambda which, no, yes: torch.where(which, yes, no)


def _clamp(torch, node):
    return lambda low, x, high: torch.minimum(torch.maximum(x, low), high)


def _convert(torch, node):
    kind = getattr(torch, node.dtype.name)
    return lambda x: x.to(kind)


def _same(torch, node):
    return lambda x: x


_MAKERS = {
    "add": _add,
    "argmax": axes.arg("argmax"),
    "argmin": axes.arg("argmin"),
    "broadcast_in_dim": axes.broadcast,
    "clamp": _clamp,
    "concatenate": _concatenate,
    "conv_general_dilated": spatial.convolve,
    "convert_element_type": _convert,
    "copy": _same,
    "copy_p": _same,
    "div": _div,
    "dot_general": axes.dot,
    "dynamic_slice": axes.dynamic_slice,
    "expand_dims": axes.reshape,
    "integer_pow": _power,
    "leaky_relu": _activation,
    "linear": axes.linear,
    "mix": spatial.mix,
    "pad": spatial.pad,
    "reduce_max": axes.reduce("amax"),
    "reduce_min": axes.reduce("amin"),
    "reduce_sum": axes.reduce("sum"),
    "reduce_window_max": spatial.pool,
    "reduce_window_sum": spatial.pool,
    "relu": _activation,
    "relu6": _activation,
    "reshape": axes.reshape,
    "resize": spatial.resize,
    "rev": axes.rev,
    "select_n": _select,
    "slice": axes.slice_,
    "_softmax": axes.softmax,
    "squeeze": axes.reshape,
    "stack": axes.stack,
    "stop_gradient": _same,
    "take": axes.take,
    "transpose": axes.transpose,
}
