"""The figures that a GPU should reach, each measured and printed beside its target.

Parts come one after another, the most telling first, until the time is over; every part
compiles its own programs.
"""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from jaxseg.benchmark import measures, network_measures, peaks, rollout_measures, stream
from jaxseg.errors import UserError
from jaxseg.ops import precision

PARTS = {
    "encoder": network_measures.encoder,
    "rollout": rollout_measures.rollouts,
    "update": rollout_measures.update,
    "network": network_measures.network,
    "stream": network_measures.streams,
    "step": rollout_measures.steps,
    "depthwise": network_measures.depthwise,
    "population": rollout_measures.population,
    "plain": rollout_measures.plain,
}


class Goal(NamedTuple):
    """What a figure should be on one NVIDIA H200, and what would be better still."""

    target: float
    ambitious: float
    most: bool  # at most these, else at least


# Estimates for the paper's sizes, from FLOP counts and data sheets: about a quarter of
# the peak, and less where a GPU waits for its host.
GOALS = {
    "encoder, batch 64": Goal(30, 20, True),
    "encoder, batch 128": Goal(30, 20, True),
    "rollout, late": Goal(1.2, 0.6, True),
    "rollout, late, undecided": Goal(1.2, 0.6, True),
    "update": Goal(1.4, 0.7, True),
    "300 updates, extrapolated": Goal(8, 4, True),
    "N, several scales, 98,947 frames, extrapolated": Goal(8, 4, True),
    "stream, policy, a = 30": Goal(1000, 2000, False),
    "stream, policy, a = 30, against N": Goal(3, np.nan, False),
    "late, against the plain rollout": Goal(3, np.nan, False),
    "early, against the plain rollout": Goal(20, np.nan, False),
}


class Line(NamedTuple):
    """A figure beside its goal."""

    part: str
    figure: measures.Figure
    share: float  # of the device's peak; NaN where FLOP say nothing
    goal: Goal | None

    def reached(self) -> str:
        """Return "ambitious", "target" or "no"; nothing without a goal."""
        if self.goal is None:
            return ""
        value, goal = self.figure.value, self.goal
        good = (lambda x: value <= x) if goal.most else (lambda x: value >= x)
        if good(goal.ambitious):
            return "ambitious"
        return "target" if good(goal.target) else "no"


def measure(
    sizes: measures.Sizes, parts: Iterable[str], minutes: float
) -> Iterator[Line | str]:
    """Measure parts until the time is over; a part that has begun is finished.

    Of a part that is left out or fails, a sentence says so, and the next one begins.

    Raises:
      UserError: an unknown part, network or precision.
    """
    parts = list(parts)
    for part in parts:
        if part not in PARTS:
            raise UserError(
                f"there is no part {part!r}; expected some of {', '.join(PARTS)}; "
                "change --parts"
            )
    stream.settings_of(sizes.network, sizes.size)  # refuses an unknown one
    peak = peaks.of_device(precision.dtype(sizes.precision))
    # Goals hold for one size and network.
    fields = ("size", "frames", "trials", "episodes", "network")
    paper = all(getattr(sizes, x) == getattr(measures.Sizes(), x) for x in fields)
    goals = GOALS if paper else {}
    begun = time.perf_counter()
    work = measures.Work(sizes)
    for part in parts:
        if time.perf_counter() - begun > 60 * minutes:
            yield f"{part}: left out, as {minutes:g} minutes are over"
            continue
        try:
            for figure in PARTS[part](work):
                share = np.nan
                if figure.flop:
                    share = peak.share(figure.flop, figure.seconds)
                yield Line(part, figure, share, goals.get(figure.name))
        except (UserError, jax.errors.JaxRuntimeError) as error:
            yield f"{part}: failed, {str(error).splitlines()[0]}"
