"""A network as a program of torch: the same weights, the same input, the same result.

Eager, in inference mode, on the GPU or on as many cores as are faster, one or all;
batch norm is folded into the weights.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg.benchmark.peers import graph, peer
from jaxseg.benchmark.peers.torch import ops


class _Step(NamedTuple):
    """One operation; results have numbers."""

    fn: Callable
    reads: list[int]
    writes: int
    done: list[int]  # what nobody reads any more


class Program:
    """A network with an input, ready to run in torch; see `peer.Program`.

    Images lie in memory as they do in torch unless it is asked for more.
    """

    NAME = "torch"
    LAYOUT = "contiguous_format"

    def __init__(self, folded: graph.Graph, inputs: Sequence[Any]):
        self._torch, self._device = _find()
        self._layout = getattr(self._torch, self.LAYOUT)
        self._steps = self._prepare(folded)
        self._inputs = {
            index: ops.image(self._torch, self._device, self._layout, np.asarray(x))
            for index, x in enumerate(inputs)
        }
        self._threads = None
        if self._device == "cpu":
            self._threads = peer.fastest(self._seconds)

    def __call__(self) -> list[Any]:
        """Run the network to its end; return the leaves of its result."""
        if self._threads:
            self._torch.set_num_threads(self._threads)
        results = dict(self._inputs)
        with self._torch.inference_mode():
            for fn, reads, writes, done in self._steps:
                results[writes] = fn(*[results[x] for x in reads])
                for x in done:
                    del results[x]
        if self._device != "cpu":
            self._torch.cuda.synchronize()
        return [results[x] for x in self._outputs]

    def arrays(self) -> list[np.ndarray]:
        """Run the network; return the leaves of its result as arrays."""
        return [x.cpu().numpy() for x in self()]

    def _seconds(self, threads: int) -> float:
        self._threads = threads
        return peer.second_run(self)

    def _prepare(self, folded: graph.Graph) -> list[_Step]:
        number = {x: i for i, x in enumerate([*folded.inputs, *folded.nodes])}
        self._outputs = [number[x] for x in folded.outputs]
        kept = {*self._outputs, *range(len(folded.inputs))}
        steps = []
        for node in reversed(folded.nodes):
            reads = [number[x] for x in node.sources]
            done = sorted(set(reads) - kept)
            kept.update(done)
            fn = ops.function(self._torch, self._device, self._layout, node)
            steps.append(_Step(fn, reads, number[node], done))
        return steps[::-1]


class ChannelsLast(Program):
    """The same with images in the order that is faster on most networks."""

    NAME = "torch, channels_last"
    LAYOUT = "channels_last"


def _find() -> tuple[Any, str]:
    """Return torch and the device for it, of the kind that jax computes on."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        raise peer.Missing("torch is not installed") from error
    if jax.default_backend() != "cpu":
        if not torch.cuda.is_available():
            raise peer.Missing("torch does not see the device that jax computes on")
        return torch, "cuda"
    return torch, "cpu"
