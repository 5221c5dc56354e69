"""Operations along axes, as operations of ONNX: functions (writer, node)."""

import string
from collections.abc import Callable, Sequence

import numpy as np

from jaxseg.benchmark.peers import graph
from jaxseg.benchmark.peers.onnx import writer

_LAST = np.iinfo(np.int64).min  # what a slice backwards ends before


def reshape(out: writer.Writer, node: graph.Node) -> None:
    """Reshape; the order of the axes stays where only axes of length 1 come or go."""
    name, natural = _reshaped(out, node.inputs[0], node.shape)
    out.put(node, name, natural)


def broadcast(out: writer.Writer, node: graph.Node) -> None:
    """Reshape to axes of length 1, then expand these."""
    x, shape = node.inputs[0], [1] * node.ndim
    for axis, length in zip(node.params["broadcast_dimensions"], x.shape):
        shape[axis] = length
    name, natural = _reshaped(out, x, tuple(shape))
    if tuple(shape) != node.shape:
        wanted = node.shape if natural else writer.along(node, node.shape)
        name = out.add("Expand", [name, out.constant(wanted, np.int64)])
    out.put(node, name, natural)


def transpose(out: writer.Writer, node: graph.Node) -> None:
    """Transpose, from laid to laid axes at once."""
    (x,) = node.inputs
    permutation = writer.along(node, node.params["permutation"])
    axes = [writer.axis(x, i) for i in permutation]
    name = out.laid(x)
    if axes != sorted(axes):
        name = out.add("Transpose", [name], perm=axes)
    out.put(node, name)


def concatenate(out: writer.Writer, node: graph.Node) -> None:
    """Put arrays behind one another."""
    axis = writer.axis(node, node.params["dimension"])
    out.put(node, out.add("Concat", map(out.laid, node.inputs), axis=axis))


def stack(out: writer.Writer, node: graph.Node) -> None:
    """Put arrays behind one another along an axis of their own."""
    axis = node.params["axis"]
    place = out.constant([axis], np.int64)
    names = [out.add("Unsqueeze", [out.natural(x), place]) for x in node.inputs]
    out.put(node, out.add("Concat", names, axis=axis), natural=True)


def slice_(out: writer.Writer, node: graph.Node) -> None:
    """Cut out pixels some steps apart."""
    names = ("start_indices", "limit_indices", "strides")
    starts, limits, steps = (node.params[name] for name in names)
    _slice(out, node, starts, limits, steps or (1,) * len(starts))


def dynamic_slice(out: writer.Writer, node: graph.Node) -> None:
    """Cut out a part at a place that is constant."""
    x, *starts = node.inputs
    if any(isinstance(i, graph.Node) for i in starts):
        raise NotImplementedError("no slice from a place that is not constant")
    sizes = node.params["slice_sizes"]
    starts = [min(max(int(i), 0), n - k) for i, n, k in zip(starts, x.shape, sizes)]
    limits = [start + size for start, size in zip(starts, sizes)]
    _slice(out, node, starts, limits, (1,) * x.ndim)


def rev(out: writer.Writer, node: graph.Node) -> None:
    """Reverse axes."""
    x, turned = node.inputs[0], node.params["dimensions"]
    turns = [i in turned for i in range(x.ndim)]
    starts = [-1 if turn else 0 for turn in turns]
    limits = [_LAST if turn else n for turn, n in zip(turns, x.shape)]
    _slice(out, node, starts, limits, [-1 if turn else 1 for turn in turns])


def take(out: writer.Writer, node: graph.Node) -> None:
    """Gather along an axis."""
    x, indices = node.inputs
    names = [out.laid(x), out.constant(indices)]
    axis = writer.axis(x, node.params["axis"])
    out.put(node, out.add("Gather", names, axis=axis))


def softmax(out: writer.Writer, node: graph.Node) -> None:
    """Normalise along an axis."""
    axis = writer.axis(node, node.params["axis"])
    out.put(node, out.add("Softmax", [out.laid(node.inputs[0])], axis=axis))


def reduce(op: str) -> Callable:
    """Return a reduction."""

    def write(out, node):
        (x,) = node.inputs
        whole = node.params["axes"]
        is_pooling = op == "ReduceSum" and x.ndim == 4 and tuple(whole) == (1, 2)
        if is_pooling and np.issubdtype(node.dtype, np.floating):
            out.put(node, _sum_of_pixels(out, node))
            return
        name, axes = _without(out, x, whole)
        axes = out.constant(axes, np.int64)
        out.put(node, out.add(op, [name, axes], keepdims=0), natural=True)

    return write


def arg(op: str) -> Callable:
    """Return the search for a place along an axis."""

    def write(out, node):
        name, (axis,) = _without(out, node.inputs[0], node.params["axes"])
        found = out.add(op, [name], axis=axis, keepdims=0)
        found = out.add("Cast", [found], to=out.kind(node.dtype))
        out.put(node, found, natural=True)

    return write


def linear(out: writer.Writer, node: graph.Node) -> None:
    """Multiply rows by a matrix [out, in]; those of an image by a convolution."""
    x, matrix, *bias = node.inputs
    bias = map(out.constant, bias)
    if x.ndim == 4:
        kernel = out.constant(matrix[:, :, None, None])
        out.put(node, out.add("Conv", [out.laid(x), kernel, *bias]))
    elif x.ndim == 2:
        names = [out.laid(x), out.constant(matrix), *bias]
        out.put(node, out.add("Gemm", names, transB=1))
    else:
        name = out.add("MatMul", [out.laid(x), out.constant(matrix.T)])
        for summand in bias:
            name = out.add("Add", [name, summand])
        out.put(node, name)


def dot(out: writer.Writer, node: graph.Node) -> None:
    """Multiply in general, every axis with a letter of its own."""
    (left, right), (left_batch, right_batch) = node.params["dimension_numbers"]
    letters = iter(string.ascii_letters)
    first, second = ([next(letters) for _ in x.shape] for x in node.inputs)
    for mine, its in zip((*left, *left_batch), (*right, *right_batch)):
        second[its] = first[mine]
    result = [first[i] for i in left_batch]
    result += [x for i, x in enumerate(first) if i not in (*left, *left_batch)]
    result += [x for i, x in enumerate(second) if i not in (*right, *right_batch)]
    equation = f"{''.join(first)},{''.join(second)}->{''.join(result)}"
    names = map(out.natural, node.inputs)
    out.put(node, out.add("Einsum", names, equation=equation), natural=True)


def _slice(out, node, starts, limits, steps):
    """Slice the axes of which not all is wanted."""
    x = node.inputs[0]
    whole = [(0, length, 1) for length in x.shape]
    wanted = list(zip(starts, limits, steps))
    cut = [i for i in range(x.ndim) if wanted[i] != whole[i]]
    starts, limits, steps = zip(*[wanted[i] for i in cut]) if cut else ((), (), ())
    axes = [writer.axis(x, i) for i in cut]
    constants = [out.constant(c, np.int64) for c in (starts, limits, axes, steps)]
    out.put(node, out.add("Slice", [out.laid(x), *constants]))


def _without(out, x, axes):
    """Return a value from which axes can go so that the others are in natural order."""
    laid = [i for i in writer.order(x.ndim) if i not in axes]
    if laid == sorted(laid):
        return out.laid(x), [writer.axis(x, i) for i in axes]
    return out.natural(x), list(axes)


def _sum_of_pixels(out, node):
    """Take the mean, which onnxruntime has in every order of the channels."""
    (x,) = node.inputs
    mean = out.add("GlobalAveragePool", [out.laid(x)])
    count = out.constant(x.shape[1] * x.shape[2], node.dtype)
    total = out.add("Mul", [mean, count])
    return out.add("Reshape", [total, out.constant(node.shape, np.int64)])


def _reshaped(out, x, shape: Sequence[int]) -> tuple[str, bool]:
    """Return a value in another shape, and whether its axes are in natural order."""
    natural = not _keeps_order(x.shape, shape)
    source = out.natural(x) if natural else out.laid(x)
    if tuple(shape) != x.shape:
        wanted = shape if natural else [shape[i] for i in writer.order(len(shape))]
        source = out.add("Reshape", [source, out.constant(wanted, np.int64)])
    return source, natural


def _keeps_order(old, new):
    """Say whether the longer axes are the same, and laid in the same order."""
    real_old, real_new = _real(old), _real(new)
    if [old[i] for i in real_old] != [new[i] for i in real_new]:
        return False
    places = [
        [real.index(i) for i in writer.order(len(shape)) if i in real]
        for real, shape in ((real_old, old), (real_new, new))
    ]
    return places[0] == places[1]


def _real(shape):
    return [i for i, length in enumerate(shape) if length > 1]
