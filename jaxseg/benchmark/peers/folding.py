"""Rewrites of a graph that leave its result alone and save operations.

They are what is done to a network before it is deployed: batch norm goes into the
weights, bilinear resizing becomes one operation.
"""

from collections import Counter

import numpy as np

from jaxseg.benchmark.peers import graph

# Their second input is the weights.
WEIGHTED = ("conv_general_dilated", "linear")


def fold(traced: graph.Graph) -> graph.Graph:
    """Rewrite a graph, whose nodes change, with new operations:

    "take" (x, indices; params axis), "lerp" (first, second, weight), "resize" (params
    sizes: axis -> length; align-corners), "mix" (image, matrix [new, old]; params axis,
    1 or 2) and "linear" (x, matrix [out, in]). This and "conv_general_dilated" may have
    a third input, the bias. Where params has in_place, the first input may be written
    over.
    """
    for rule in _RULES:
        uses = traced.uses()
        for node in traced.nodes:
            rule(node, uses)
        traced = traced.pruned()
    return traced


def _take(node: graph.Node, uses: Counter) -> None:
    """Recognise `jnp.take` along one axis by a list of indices."""
    if node.op != "gather" or isinstance(node.inputs[1], graph.Node):
        return
    x, indices = node.inputs
    numbers, sizes = node.params["dimension_numbers"], node.params["slice_sizes"]
    axes = numbers.collapsed_slice_dims
    if len(axes) != 1 or numbers.start_index_map != axes or indices.ndim != 2:
        return
    others = [i for i in range(len(x.shape)) if i != axes[0]]
    whole = all(sizes[i] == x.shape[i] for i in others)
    if not whole or list(numbers.offset_dims) != others:
        return
    indices = indices[:, 0].astype(np.int64)
    # What lies outside depends on the mode.
    if indices.min() >= 0 and indices.max() < x.shape[axes[0]]:
        _become(node, "take", {"axis": axes[0]}, [x, indices])


def _lerp(node: graph.Node, uses: Counter) -> None:
    """Recognise first + (second - first) * weight."""
    if node.op != "add" or len(node.sources) != 2:
        return
    first, product = node.inputs
    if product.op != "mul" or len(product.sources) != 1 or uses[product] != 1:
        return
    difference, weight = product.inputs
    if not isinstance(difference, graph.Node):
        difference, weight = weight, difference
    if difference.op != "sub" or uses[difference] != 1:
        return
    second, subtracted = difference.inputs
    if subtracted is first and isinstance(second, graph.Node):
        _become(node, "lerp", {}, [first, second, weight])


def _resize(node: graph.Node, uses: Counter) -> None:
    """Recognise align-corners interpolation along an axis of an image."""
    if node.op != "lerp" or [x.op for x in node.sources] != ["take", "take"]:
        return
    first, second, weight = node.inputs
    (x, low), axis = first.inputs, first.params["axis"]
    if second.inputs[0] is not x or second.params["axis"] != axis:
        return
    if len(x.shape) != 4 or axis not in (1, 2) or weight.size != node.shape[axis]:
        return
    high = second.inputs[1]
    old, new = x.shape[axis], node.shape[axis]
    if new < 2 or not (high == np.minimum(low + 1, old - 1)).all():
        return
    corners = np.arange(new) * ((old - 1) / (new - 1))
    if np.allclose(low + weight.reshape(-1), corners, rtol=0, atol=1e-4):
        _become(node, "resize", {"sizes": {axis: new}}, [x])


def _join_resizes(node: graph.Node, uses: Counter) -> None:
    if node.op != "resize":
        return
    (inner,) = node.inputs
    sizes, others = node.params["sizes"], inner.params.get("sizes", {})
    if inner.op == "resize" and uses[inner] == 1 and not sizes.keys() & others.keys():
        _become(node, "resize", {"sizes": sizes | others}, inner.inputs)


def _linear(node: graph.Node, uses: Counter) -> None:
    """Recognise the product of rows with a constant matrix."""
    if node.op != "dot_general" or isinstance(node.inputs[1], graph.Node):
        return
    x, matrix = node.inputs
    (mine, its), batch = node.params["dimension_numbers"]
    if matrix.ndim != 2 or any(batch) or tuple(mine) != (len(x.shape) - 1,):
        return
    _become(node, "linear", {}, [x, matrix.T if its[0] == 0 else matrix])


def _mix(node: graph.Node, uses: Counter) -> None:
    """Recognise the product of rows or columns of an image with a constant matrix."""
    if node.op != "transpose" or node.inputs[0].op != "dot_general":
        return
    (product,) = node.inputs
    if uses[product] != 1 or isinstance(product.inputs[1], graph.Node):
        return
    x, matrix = product.inputs
    (mine, its), batch = product.params["dimension_numbers"]
    if len(x.shape) != 4 or matrix.ndim != 2 or any(batch) or mine[0] not in (1, 2):
        return
    # The product has the new axis last.
    order = [0, 1, 2]
    order.insert(mine[0], 3)
    if list(node.params["permutation"]) == order:
        matrix = matrix.T if its[0] == 0 else matrix
        _become(node, "mix", {"axis": mine[0]}, [x, matrix])


def _affine(node: graph.Node, uses: Counter) -> None:
    """Put a factor or a summand for every channel into the weights before it."""
    found = _scale_and_shift(node)
    if not found or node.sources[0].op not in WEIGHTED:
        return
    (source,) = node.sources
    if uses[source] != 1 or source.shape != node.shape:
        return
    x, weights, *bias = source.inputs
    if isinstance(weights, graph.Node) or not isinstance(x, graph.Node):
        return
    scale, shift = found
    axis = 0
    if source.op == "conv_general_dilated":
        numbers = source.params["dimension_numbers"]
        axis = numbers.rhs_spec[0]
        if numbers.out_spec[1] != len(node.shape) - 1:
            return
    if (scale != 1).any():
        along = [-1 if i == axis else 1 for i in range(weights.ndim)]
        weights = (weights * scale.reshape(along)).astype(weights.dtype)
    shift = shift + (scale * bias[0] if bias else 0)
    _become(node, source.op, source.params, [x, weights, shift.astype(node.dtype)])


def _scale_and_shift(node: graph.Node) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what an operation multiplies every channel by, and then adds."""
    if node.op not in ("add", "sub", "mul", "div") or len(node.sources) != 1:
        return None
    is_first = isinstance(node.inputs[0], graph.Node)
    constant, channels = node.inputs[1 if is_first else 0], node.shape[-1]
    if constant.size != 1 and (constant.size, constant.shape[-1]) != (channels,) * 2:
        return None
    value = np.broadcast_to(constant.reshape(-1).astype(np.float64), channels)
    one, zero = np.ones(channels), np.zeros(channels)
    if node.op == "add":
        return one, value
    if node.op == "mul":
        return value, zero
    if node.op == "sub":
        return (one, -value) if is_first else (-one, value)
    return (1 / value, zero) if is_first else None


def _overwrite(node: graph.Node, uses: Counter) -> None:
    """Let activations and sums write over what only they read (param in_place)."""
    if node.op not in ("relu", "relu6", "leaky_relu", "add"):
        return
    for x in node.sources:
        is_alike = (x.shape, x.dtype) == (node.shape, node.dtype)
        if x.op in (*WEIGHTED, "add") and uses[x] == 1 and is_alike:
            others = [y for y in node.inputs if y is not x]
            _become(node, node.op, {**node.params, "in_place": True}, [x, *others])
            return


def _become(node: graph.Node, op, params, inputs) -> None:
    node.op, node.params, node.inputs = op, params, list(inputs)


_RULES = (
    _take,
    _lerp,
    _resize,
    _join_resizes,
    _linear,
    _mix,
    _affine,
    _overwrite,
)
