"""Operations along axes, as functions of torch."""

from collections.abc import Callable
from typing import Any

from jaxseg.benchmark.peers import graph


def reshape(torch: Any, node: graph.Node) -> Callable:
    """Return `reshape` of (x)."""
    return lambda x: x.reshape(node.shape)


def broadcast(torch: Any, node: graph.Node) -> Callable:
    """Return a view with more and longer axes."""
    axes = node.params["broadcast_dimensions"]
    shape = [1] * len(node.shape)
    for axis, length in zip(axes, node.inputs[0].shape):
        shape[axis] = length
    return lambda x: x.reshape(shape).expand(node.shape)


def transpose(torch: Any, node: graph.Node) -> Callable:
    """Return `permute` of (x)."""
    order = node.params["permutation"]
    return lambda x: x.permute(order)


def concatenate(torch: Any, node: graph.Node) -> Callable:
    """Return the arrays behind one another."""
    axis = node.params["dimension"]
    return lambda *x: torch.cat(x, axis)


def stack(torch: Any, node: graph.Node) -> Callable:
    """Return the arrays behind one another along an axis of their own."""
    axis = node.params["axis"]
    return lambda *x: torch.stack(x, axis)


def slice_(torch: Any, node: graph.Node) -> Callable:
    """Return pixels some steps apart."""
    names = ("start_indices", "limit_indices", "strides")
    starts, limits, steps = (node.params[name] for name in names)
    where = tuple(map(slice, starts, limits, steps or (1,) * len(starts)))
    return lambda x: x[where]


def dynamic_slice(torch: Any, node: graph.Node) -> Callable:
    """Return a part of (x, places) at places that are constant."""
    sizes, lengths = node.params["slice_sizes"], node.inputs[0].shape
    starts = node.inputs[1:]
    if any(isinstance(x, graph.Node) for x in starts):
        raise NotImplementedError("no slice from a place that is not constant")
    starts = [min(max(int(x), 0), n - k) for x, n, k in zip(starts, lengths, sizes)]
    where = tuple(slice(start, start + k) for start, k in zip(starts, sizes))
    return lambda x, *_: x[where]


def rev(torch: Any, node: graph.Node) -> Callable:
    """Return `flip` of (x)."""
    axes = node.params["dimensions"]
    return lambda x: x.flip(axes)


def take(torch: Any, node: graph.Node) -> Callable:
    """Return what is at (x, indices) along an axis."""
    axis = node.params["axis"]
    return lambda x, indices: torch.index_select(x, axis, indices)


def softmax(torch: Any, node: graph.Node) -> Callable:
    """Return `softmax` of (x)."""
    axis = node.params["axis"]
    return lambda x: torch.softmax(x, axis)


def reduce(name: str) -> Callable:
    """Return the maker of a reduction."""

    def make(torch, node):
        axes, fn = tuple(node.params["axes"]), getattr(torch, name)
        return lambda x: fn(x, dim=axes)

    return make


def arg(name: str) -> Callable:
    """Return the maker of a search for a place along an axis."""

    def make(torch, node):
        (axis,), fn = node.params["axes"], getattr(torch, name)
        kind = getattr(torch, node.dtype.name)
        return lambda x: fn(x, axis).to(kind)

    return make


def linear(torch: Any, node: graph.Node) -> Callable:
    """Return the product of (x, matrix, bias) with a matrix [out, in]."""
    return torch.nn.functional.linear


def dot(torch: Any, node: graph.Node) -> Callable:
    """Return a general product; einsum takes axes by numbers."""
    (left, right), (left_batch, right_batch) = node.params["dimension_numbers"]
    first = list(range(len(node.inputs[0].shape)))
    second = [len(first) + i for i in range(len(node.inputs[1].shape))]
    for mine, its in zip((*left, *left_batch), (*right, *right_batch)):
        second[its] = first[mine]
    out = [first[i] for i in left_batch]
    out += [first[i] for i in first if i not in (*left, *left_batch)]
    rest = [i for i in range(len(second)) if i not in (*right, *right_batch)]
    out += [second[i] for i in rest]
    return lambda x, y: torch.einsum(x, first, y, second, out)
