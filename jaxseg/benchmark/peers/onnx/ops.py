"""The operations of a graph as operations of ONNX."""

from typing import Any

import numpy as np

from jaxseg.benchmark.peers import graph
from jaxseg.benchmark.peers.onnx import axes, spatial, writer

# By their names in jax; they take and give values in any order of axes.
_SIMPLE = {
    "abs": "Abs",
    "add": "Add",
    "add_any": "Add",
    "and": "And",
    "ceil": "Ceil",
    "div": "Div",
    "eq": "Equal",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "log": "Log",
    "logistic": "Sigmoid",
    "lt": "Less",
    "max": "Max",
    "min": "Min",
    "mul": "Mul",
    "neg": "Neg",
    "not": "Not",
    "or": "Or",
    "pow": "Pow",
    "relu": "Relu",
    "sign": "Sign",
    "sqrt": "Sqrt",
    "sub": "Sub",
    "tanh": "Tanh",
}


def translate(onnx: Any, folded: graph.Graph) -> writer.Model:
    """Return a graph as a model of ONNX.

    Args:
      onnx: the module.

    Raises:
      NotImplementedError: an operation, or a form of one, that is not known here.
    """
    out = writer.Writer(onnx)
    for index, node in enumerate(folded.inputs):
        out.put(node, f"input{index}", natural=True)
    for node in folded.nodes:
        _write(out, node)
    return out.model(folded.inputs, folded.outputs)


def _write(out, node):
    if node.op in _WRITERS:
        _WRITERS[node.op](out, node)
        return
    names = [out.laid(x) for x in node.inputs]
    if node.op in ("and", "or", "not") and node.dtype != np.bool_:
        raise NotImplementedError(f"no operation {node.op!r} of numbers")
    if node.op in _SIMPLE:
        out.put(node, out.add(_SIMPLE[node.op], names))
    elif node.op in _COMPOSED:
        out.put(node, _COMPOSED[node.op](out, node, *names))
    else:
        raise NotImplementedError(f"no operation {node.op!r}")


def _clamp(out, node, low, x, high):
    return out.add("Max", [out.add("Min", [x, high]), low])


def _convert(out, node, x):
    return out.add("Cast", [x], to=out.kind(node.dtype))


def _copy(out, node, x):
    return x


def _expm1(out, node, x):
    return out.add("Sub", [out.add("Exp", [x]), out.constant(1, node.dtype)])


def _leaky_relu(out, node, x):
    return out.add("LeakyRelu", [x], alpha=node.params["slope"])


def _lerp(out, node, first, second, weight):
    difference = out.add("Sub", [second, first])
    return out.add("Add", [first, out.add("Mul", [difference, weight])])


def _log1p(out, node, x):
    return out.add("Log", [out.add("Add", [x, out.constant(1, node.dtype)])])


def _ne(out, node, x, y):
    return out.add("Not", [out.add("Equal", [x, y])])


def _power(out, node, x):
    return out.add("Pow", [x, out.constant(node.params["y"], node.dtype)])


def _relu6(out, node, x):
    return out.add("Clip", [x, *(out.constant(limit, node.dtype) for limit in (0, 6))])


def _rsqrt(out, node, x):
    return out.add("Reciprocal", [out.add("Sqrt", [x])])


def _select(out, node, which, no, *yes):
    if len(yes) != 1 or node.inputs[0].dtype != np.bool_:
        raise NotImplementedError("no choice between more than two")
    return out.add("Where", [which, *yes, no])


def _square(out, node, x):
    return out.add("Mul", [x, x])


# The same of functions (writer, node, names) -> name.
_COMPOSED = {
    "clamp": _clamp,
    "convert_element_type": _convert,
    "copy": _copy,
    "copy_p": _copy,
    "expm1": _expm1,
    "integer_pow": _power,
    "leaky_relu": _leaky_relu,
    "lerp": _lerp,
    "log1p": _log1p,
    "ne": _ne,
    "relu6": _relu6,
    "rsqrt": _rsqrt,
    "select_n": _select,
    "square": _square,
    "stop_gradient": _copy,
}
# What asks for an order of axes, as functions (writer, node) that put the node.
_WRITERS = {
    "argmax": axes.arg("ArgMax"),
    "argmin": axes.arg("ArgMin"),
    "broadcast_in_dim": axes.broadcast,
    "concatenate": axes.concatenate,
    "conv_general_dilated": spatial.convolve,
    "dot_general": axes.dot,
    "dynamic_slice": axes.dynamic_slice,
    "expand_dims": axes.reshape,
    "linear": axes.linear,
    "mix": spatial.mix,
    "pad": spatial.pad,
    "reduce_max": axes.reduce("ReduceMax"),
    "reduce_min": axes.reduce("ReduceMin"),
    "reduce_sum": axes.reduce("ReduceSum"),
    "reduce_window_max": spatial.pool,
    "reduce_window_sum": spatial.pool,
    "reshape": axes.reshape,
    "resize": spatial.resize,
    "rev": axes.rev,
    "slice": axes.slice_,
    "_softmax": axes.softmax,
    "squeeze": axes.reshape,
    "stack": axes.stack,
    "take": axes.take,
    "transpose": axes.transpose,
}
