"""A model of ONNX that is written operation by operation.

ONNX has images as [B, C, H, W], so every value of four axes is kept in that order
("laid") and transposed to jax's own ("natural") only for what asks for it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.benchmark.peers import graph

_IMAGES = (0, 3, 1, 2)  # the axes of [B, H, W, C] as ONNX has them
# The first onnxruntime with these is 1.14.
_OPSET = 18
_IR_VERSION = 8
# Larger constants are weights and stay outside the model, which protobuf allows 2 GB.
_INLINE_BYTES = 1024

Value = graph.Node | np.ndarray


class Model(NamedTuple):
    """A model and what it leaves outside."""

    proto: Any  # onnx.ModelProto
    weights: dict[str, np.ndarray]  # by the names of the initialisers


def order(rank: int) -> tuple[int, ...]:
    """Return which axes of an array, as jax has it, are the laid ones."""
    return _IMAGES if rank == 4 else tuple(range(rank))


def axis(x: Value, index: int) -> int:
    """Return where an axis of a value is when it is laid."""
    return order(x.ndim).index(index % x.ndim)


def along(x: Value, items: Sequence) -> list:
    """Return one item for every axis in the order of the laid axes."""
    return [items[i] for i in order(x.ndim)]


class Writer:
    """Collects the operations of a model."""

    def __init__(self, onnx: Any):
        self._onnx = onnx
        self._nodes, self._initialisers, self._names = [], [], {}
        self._weights = {}

    def add(self, op: str, inputs: Iterable[str], **attributes: Any) -> str:
        """Write an operation; return the name of its result."""
        inputs = list(inputs)  # may write operations themselves
        name = f"x{len(self._nodes)}"
        node = self._onnx.helper.make_node(op, inputs, [name], **attributes)
        self._nodes.append(node)
        return name

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Write an array; return its name."""
        array, name = np.asarray(value, dtype), f"c{len(self._initialisers)}"
        # np.ascontiguousarray makes a vector of a scalar.
        array = np.ascontiguousarray(array).reshape(array.shape)
        if array.nbytes <= _INLINE_BYTES:
            tensor = self._onnx.numpy_helper.from_array(array, name)
        else:
            tensor = self._outside(name, array)
        self._initialisers.append(tensor)
        return name

    def put(self, node: graph.Node, name: str, natural: bool = False) -> None:
        """Say which result is that of a node, and with which order of axes."""
        self._names[node, natural or node.ndim != 4] = name

    def laid(self, x: Value) -> str:
        """Return the name of a value with ONNX's order of axes."""
        return self._name(x, natural=False)

    def natural(self, x: Value) -> str:
        """Return the name of a value with jax's order of axes."""
        return self._name(x, natural=True)

    def kind(self, dtype: np.dtype) -> int:
        """Return ONNX's number for a type."""
        return self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def model(
        self, inputs: Sequence[graph.Node], outputs: Sequence[graph.Node]
    ) -> Model:
        """Return the model from `input0`, `input1` .. to `output0`, `output1` ..

        All of them are natural.
        """
        for index, x in enumerate(outputs):
            self._nodes.append(
                self._onnx.helper.make_node(
                    "Identity", [self.natural(x)], [f"output{index}"]
                )
            )
        main = self._onnx.helper.make_graph(
            self._nodes,
            "network",
            [self._described(f"input{i}", x) for i, x in enumerate(inputs)],
            [self._described(f"output{i}", x) for i, x in enumerate(outputs)],
            self._initialisers,
        )
        operations = [self._onnx.helper.make_opsetid("", _OPSET)]
        proto = self._onnx.helper.make_model(
            main, opset_imports=operations, ir_version=_IR_VERSION
        )
        return Model(proto, self._weights)

    def _described(self, name, x):
        kind = self.kind(x.dtype)
        return self._onnx.helper.make_tensor_value_info(name, kind, x.shape)

    def _name(self, x, natural):
        if not isinstance(x, graph.Node):
            return self.constant(x if natural else x.transpose(order(x.ndim)))
        natural = natural or x.ndim != 4
        if (x, natural) not in self._names:
            axes = np.argsort(_IMAGES) if natural else _IMAGES
            other = self._names[x, not natural]
            transposed = self.add("Transpose", [other], perm=[int(i) for i in axes])
            self._names[x, natural] = transposed
        return self._names[x, natural]

    def _outside(self, name, array):
        self._weights[name] = array
        onnx = self._onnx
        tensor = onnx.TensorProto(name=name, dims=array.shape)
        tensor.data_type = self.kind(array.dtype)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="memory")
        return tensor
