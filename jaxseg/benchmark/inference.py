"""Time networks against the plain form of the same program, and against peers.

Peers are other frameworks, where they are installed. All programs have the same weights
and input, must agree before they are timed, and are timed in turns, so that what else
the machine does falls on all.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np

from jaxseg.benchmark import turns, workload
from jaxseg.benchmark.peers import folding, graph, peer
from jaxseg.benchmark.peers.onnx import program as onnx_program
from jaxseg.benchmark.peers.torch import program as torch_program
from jaxseg.errors import UserError
from jaxseg.models import parameters
from jaxseg.ops import forms

TOLERANCE = 1e-4  # of the largest value
PEERS: dict[str, type[peer.Program]] = {
    "torch": torch_program.Program,
    "torch_cl": torch_program.ChannelsLast,
    "onnx": onnx_program.Program,
}


class Timing(NamedTuple):
    """One network, batch 1."""

    network: str
    part: str
    input: tuple[int, int]  # height, width
    parameters: int
    seconds: Mapping[
        str, turns.Seconds
    ]  # "ours", "plain" and the peers that were timed
    missing: Mapping[str, str]  # the other peers, and why they were not
    compile_seconds: float
    difference: float  # of the forms: largest, relative to the largest value

    def ratio(self, program: str) -> float:
        """Return the wall time of a program over ours; NaN if it was not timed."""
        times = self.seconds
        return times[program].wall / times["ours"].wall if program in times else np.nan

    def cpu_ratio(self, program: str) -> float:
        """Return the same of processor time; NaN off the CPU too."""
        if program not in self.seconds:
            return np.nan
        return self.seconds[program].processor / self.seconds["ours"].processor


def compare(
    workloads: Iterable[workload.Workload], *, repeats: int = 5
) -> Iterator[Timing]:
    """Time networks one after another.

    Args:
      workloads: the networks.
      repeats: samples of each program.

    Raises:
      UserError: forms that do not agree.
    """
    for load in workloads:
        yield _time(load, repeats)


def _time(load, repeats) -> Timing:
    variables, inputs = load.variables(), load.inputs()
    ours, spent = turns.compiled(load.apply, variables, *inputs)
    with forms.plain():
        plain, _ = turns.compiled(load.apply, variables, *inputs)
    expected = plain(variables, *inputs)
    difference = turns.difference(ours(variables, *inputs), expected)
    if not difference <= TOLERANCE:
        raise UserError(
            f"the forms of {load} differ by {difference:.2g} of the largest value; "
            f"expected at most {TOLERANCE:.0e}; this is a fault of jaxseg"
        )
    programs, missing = _peers(load, variables, inputs, expected)
    programs |= {
        "plain": lambda: jax.block_until_ready(plain(variables, *inputs)),
        "ours": lambda: jax.block_until_ready(ours(variables, *inputs)),
    }
    return Timing(
        network=load.name,
        part=load.part,
        input=tuple(inputs[0].shape[1:3]),
        parameters=parameters.count_parameters(variables),
        seconds=turns.run(programs, repeats),
        missing=missing,
        compile_seconds=spent,
        difference=difference,
    )


def _peers(load, variables, inputs, expected):
    """Return the programs of the peers, and of the others why there is none."""
    found, missing, folded = {}, {}, None
    for name, make in PEERS.items():
        try:
            if folded is None:
                folded = folding.fold(graph.trace(load.apply, variables, inputs))
            found[name] = _agreeing(make(folded, inputs), expected)
        except NotImplementedError as error:
            missing[name] = f"jaxseg has {error} for {make.NAME}"
        except peer.Missing as error:
            missing[name] = str(error)
    return found, missing


def _agreeing(program, expected):
    difference = turns.difference(program.arrays(), jax.tree.leaves(expected))
    if not difference <= TOLERANCE:
        raise peer.Missing(
            f"its result differs by {difference:.2g} of the largest value"
        )
    return program
