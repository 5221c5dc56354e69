"""A network as a model of ONNX: the same weights, the same input, the same result.

onnxruntime optimises the model as it does by default and runs it on the GPU or on as
many cores as are faster, one or all. Batch norm is folded into the weights before.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxseg.benchmark.peers import graph, peer
from jaxseg.benchmark.peers.onnx import ops

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Program:
    """A network with an input, ready to run in onnxruntime; see `peer.Program`."""

    NAME = "onnxruntime"

    def __init__(self, folded: graph.Graph, inputs: Sequence[Any]):
        onnx, self._runtime, self._provider = _find()
        model = ops.translate(onnx, folded)
        self._model = model.proto.SerializeToString()
        make = self._runtime.OrtValue.ortvalue_from_numpy
        self._weights = {name: make(array) for name, array in model.weights.items()}
        device = "cuda" if self._provider == _CUDA else "cpu"
        self._inputs = [make(np.asarray(x), device) for x in inputs]
        self._outputs, self._device = len(folded.outputs), device
        self._threads = self._binding = self._session = None
        try:
            threads = peer.fastest(self._seconds) if device == "cpu" else 1
            self._open(threads)
        except Exception as error:  # Its errors have no other base in common.
            said = " ".join(str(error).split())
            raise peer.Missing(f"onnxruntime says: {said}") from error
        if self._session.get_providers()[0] != self._provider:
            raise peer.Missing("onnxruntime does not run on the device of jax")

    def __call__(self) -> None:
        """Run the network to its end."""
        self._session.run_with_iobinding(self._binding)

    def arrays(self) -> list[np.ndarray]:
        """Run the network; return the leaves of its result."""
        self()
        return self._binding.copy_outputs_to_cpu()

    def _seconds(self, threads: int) -> float:
        self._open(threads)
        return peer.second_run(self)

    def _open(self, threads: int) -> None:
        """Make a session with this number of threads, unless it is there."""
        if threads == self._threads:
            return
        # The old one's weights are let go of first.
        self._binding = self._session = None
        self._session = self._runtime.InferenceSession(
            self._model,
            self._options(threads),
            providers=list(dict.fromkeys([self._provider, _CPU])),
        )
        self._threads, self._binding = threads, self._session.io_binding()
        for index, value in enumerate(self._inputs):
            self._binding.bind_ortvalue_input(f"input{index}", value)
        for index in range(self._outputs):
            self._binding.bind_output(f"output{index}", self._device)

    def _options(self, threads: int) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        # Threads that wait for more work would disturb who has the next turn.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        weights = self._weights
        options.add_external_initializers(list(weights), list(weights.values()))
        return options


def _find() -> tuple[Any, Any, str]:
    """Return onnx, onnxruntime and its provider of the kind that jax computes on."""
    try:
        onnx, runtime = map(importlib.import_module, ("onnx", "onnxruntime"))
    except (ImportError, OSError) as error:
        raise peer.Missing("onnx and onnxruntime are not installed") from error
    provider = _CPU if jax.default_backend() == "cpu" else _CUDA
    if provider not in runtime.get_available_providers():
        raise peer.Missing("onnxruntime does not see the device that jax computes on")
    return onnx, runtime, provider
