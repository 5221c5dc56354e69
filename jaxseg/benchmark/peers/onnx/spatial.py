"""Convolution, pooling, padding and resizing of images, as operations of ONNX.

Functions (writer, node).
"""

import math

import numpy as np

from jaxseg.benchmark.peers import graph, images
from jaxseg.benchmark.peers.onnx import writer


def convolve(out: writer.Writer, node: graph.Node) -> None:
    """Convolve, plainly or transposed."""
    images.check_convolution(node)
    x, _, *bias = node.inputs
    weights = [out.constant(images.kernel(node)), *map(out.constant, bias)]
    if images.is_transposed(node):
        out.put(node, _transposed(out, node, out.laid(x), weights))
        return
    params, pads, name = node.params, node.params["padding"], out.laid(x)
    if min(map(min, pads)) < 0:
        name, pads = _padded(out, name, [(0, 0), (0, 0), *pads], 0.0, x), [(0, 0)] * 2
    name = out.add(
        "Conv",
        [name, *weights],
        strides=params["window_strides"],
        dilations=params["rhs_dilation"],
        group=params["feature_group_count"],
        pads=_listed(pads),
    )
    out.put(node, name)


def pool(out: writer.Writer, node: graph.Node) -> None:
    """Take the largest of every window, or the sum."""
    window, strides, pads = images.pooling(node)
    x, is_max = out.laid(node.inputs[0]), node.op == "reduce_window_max"
    if any(max(pair) >= side for pair, side in zip(pads, window)):
        # onnxruntime wants a part of every window inside.
        outside = -math.inf if is_max else 0.0
        x = _padded(out, x, [(0, 0), (0, 0), *pads], outside, node)
        pads = [(0, 0), (0, 0)]
    fields = {"kernel_shape": window, "strides": strides, "pads": _listed(pads)}
    if is_max:
        out.put(node, out.add("MaxPool", [x], **fields))
        return
    mean = out.add("AveragePool", [x], count_include_pad=1, **fields)
    out.put(node, out.add("Mul", [mean, out.constant(math.prod(window), node.dtype)]))


def pad(out: writer.Writer, node: graph.Node) -> None:
    """Put a constant value around."""
    x, (pads, value) = node.inputs[0], images.padding(node)
    pads = writer.along(x, pads)
    out.put(node, _padded(out, out.laid(x), pads, value, node))


def resize(out: writer.Writer, node: graph.Node) -> None:
    """Interpolate bilinearly, with the corners in place."""
    sizes = out.constant(writer.along(node, node.shape), np.int64)
    name = out.add(
        "Resize",
        [out.laid(node.inputs[0]), "", "", sizes],
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )
    out.put(node, name)


def mix(out: writer.Writer, node: graph.Node) -> None:
    """Multiply the height or the width by a matrix: the last two of the laid axes."""
    x, matrix = node.inputs
    if node.params["axis"] == 1:
        names = [out.constant(matrix), out.laid(x)]
    else:
        names = [out.laid(x), out.constant(matrix.T)]
    out.put(node, out.add("MatMul", names))


def _transposed(out, node, x, weights):
    strides, rates, cuts = images.upsampling(node)
    # What would have to be cut less than nothing is put behind.
    extra = [max(0, -high) for _, high in cuts]
    cuts = [(low, max(0, high)) for low, high in cuts]
    lows = [low for low, _ in cuts]
    if min(lows) < 0 or any(e >= s for e, s in zip(extra, strides)):
        raise NotImplementedError("no transposed convolution with such pads")
    return out.add(
        "ConvTranspose",
        [x, *weights],
        strides=strides,
        dilations=rates,
        pads=_listed(cuts),
        output_padding=extra,
    )


def _padded(out, name, pads, value, like):
    """Put a value around, or cut off where pads are below 0."""
    sizes = out.constant(_listed(pads), np.int64)
    return out.add("Pad", [name, sizes, out.constant(value, like.dtype)])


def _listed(pads):
    """Return pads as ONNX lists them: all before, then all behind."""
    return [low for low, _ in pads] + [high for _, high in pads]
