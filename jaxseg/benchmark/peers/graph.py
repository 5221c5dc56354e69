"""A network as a list of operations on arrays, read from its jaxpr.

Calls are inlined, but for functions that frameworks have as one kernel, and whatever
depends on constants alone, as the weights, is computed here.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Union

import jax
import jax.extend
import numpy as np

from jaxseg.ops import forms

# Names of functions of jax.nn, as their calls have them.
KERNELS = ("relu", "relu6", "leaky_relu", "_softmax")
_CALLS = (
    "jit",
    "pjit",
    "closed_call",
    "remat",
    "checkpoint",
    "custom_jvp_call",
    "custom_vjp_call",
)


@dataclasses.dataclass(eq=False)
class Node:
    """One operation: a primitive of jax.lax or one of `KERNELS`, with one result."""

    op: str
    params: Mapping[str, Any]
    # Arrays are constants. To show them would show the whole graph, many times over.
    inputs: list[Union["Node", np.ndarray]] = dataclasses.field(repr=False)
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    @property
    def sources(self) -> list["Node"]:
        """Return the inputs that are not constant."""
        return [x for x in self.inputs if isinstance(x, Node)]


class Graph(NamedTuple):
    """Operations in an order in which they can run."""

    inputs: list[Node]  # op "input"
    nodes: list[Node]
    outputs: list[Node]

    def pruned(self) -> "Graph":
        """Return the graph without operations that no output needs."""
        needed = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if node in needed:
                needed.update(node.sources)
                kept.append(node)
        return self._replace(nodes=kept[::-1])

    def uses(self) -> Counter[Node]:
        """Return how often the result of every operation is read or put out."""
        found = Counter(self.outputs)
        for node in self.nodes:
            found.update(node.sources)
        return found


def trace(apply: Callable, variables: Any, inputs: Sequence[Any]) -> Graph:
    """Return the graph of `apply(variables, *inputs)` in its plain form.

    Its outputs are the leaves of the result.

    Raises:
      NotImplementedError: a primitive with several results, or a result that does not
        depend on the inputs.
    """
    with forms.plain():
        closed = jax.make_jaxpr(lambda *x: jax.tree.leaves(apply(variables, *x)))(
            *inputs
        )
    arguments = [Node("input", {}, [], x.shape, x.dtype) for x in closed.in_avals]
    reader = _Reader()
    outputs = reader.read(closed.jaxpr, closed.consts, arguments)
    if not all(isinstance(x, Node) for x in outputs):
        raise NotImplementedError("no constant result")
    return Graph(arguments, reader.nodes, outputs).pruned()


class _Reader:
    """Collects the operations of a jaxpr while it goes through it."""

    def __init__(self):
        self.nodes = []

    def read(self, jaxpr, constants, values) -> list[Node | np.ndarray]:
        """Go through a jaxpr whose inputs have these values; return its outputs."""
        known = dict(zip(jaxpr.constvars, map(np.asarray, constants)))
        known |= zip(jaxpr.invars, values)

        def value(x):
            is_literal = isinstance(x, jax.extend.core.Literal)
            return np.asarray(x.val, x.aval.dtype) if is_literal else known[x]

        for equation in jaxpr.eqns:
            found = self._results(equation, [value(x) for x in equation.invars])
            known |= zip(equation.outvars, found)
        return [value(x) for x in jaxpr.outvars]

    def _results(self, equation, values):
        primitive, params = equation.primitive, equation.params
        is_known = not any(isinstance(x, Node) for x in values)
        if primitive.name in _CALLS:
            body = params.get("call_jaxpr") or params["jaxpr"]
            name = params.get("name") or _name(body)
            if name in KERNELS and not is_known:
                return [self._kernel(name, body, values)]
            inner = getattr(body, "jaxpr", body)  # that of remat is open
            return self.read(inner, getattr(body, "consts", ()), values)
        if is_known:
            found = primitive.bind(*values, **params)
            found = found if primitive.multiple_results else [found]
            return [np.asarray(x) for x in found]
        if primitive.multiple_results:
            raise NotImplementedError(f"no primitive {primitive.name!r}")
        result = equation.outvars[0].aval
        if 0 in result.shape:  # Padding by edges makes such, and joins them.
            return [np.zeros(result.shape, result.dtype)]
        if primitive.name == "concatenate":
            values = [x for x in values if 0 not in x.shape]
            if len(values) == 1:
                return values
        return [self._add(primitive.name, params, values, result)]

    def _kernel(self, name, body, values):
        params, x = {}, values[0]
        if name == "leaky_relu":
            params = {"slope": float(values[1])}
        if name == "_softmax":
            largest = next(e for e in body.eqns if e.primitive.name == "reduce_max")
            (axis,) = largest.params["axes"]
            params = {"axis": axis}
        return self._add(name, params, [x], x)

    def _add(self, op, params, inputs, like) -> Node:
        node = Node(op, params, list(inputs), tuple(like.shape), np.dtype(like.dtype))
        self.nodes.append(node)
        return node


def _name(body) -> str:
    information = getattr(getattr(body, "jaxpr", body), "debug_info", None)
    return getattr(information, "func_name", "")
