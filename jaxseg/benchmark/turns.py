"""Time programs in turns, so that what else the machine does falls on all of them."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg.ops import precision as precisions


class Seconds(NamedTuple):
    """Medians over the samples of a program."""

    wall: float
    processor: float  # NaN off the CPU


class Comparison(NamedTuple):
    """A program of ours against another that does the same."""

    case: str
    against: str
    seconds: float  # ours, wall
    ratio: float  # of the other's wall time to ours
    cpu_ratio: float  # of processor time, NaN off the CPU
    compile_seconds: float  # ours
    difference: float  # largest of the results
    facts: dict[str, float]


def compiled(fn: Callable, *arguments) -> tuple[Any, float]:
    """Compile `fn(*arguments)` as it is now; return the program and the seconds."""
    begun = time.perf_counter()
    # A function of its own, so that no trace of another form is found.
    program = jax.jit(lambda *x: fn(*x)).lower(*arguments).compile()
    return program, time.perf_counter() - begun


class Program:
    """A function that is compiled once, at its first call; results are waited for.

    Later calls may have other values, of the same shapes.
    """

    def __init__(self, fn: Callable):
        self._fn = fn
        self.compiled = None
        self.compile_seconds = 0.0

    def __call__(self, *arguments) -> Any:
        if self.compiled is None:
            self.compiled, self.compile_seconds = compiled(self._fn, *arguments)
        return jax.block_until_ready(self.compiled(*arguments))


def timed(fn: Callable[[], Any]) -> tuple[Any, float]:
    """Return what `fn()` returns, and its seconds."""
    begun = time.perf_counter()
    return fn(), time.perf_counter() - begun


def difference(found: Any, expected: Any) -> float:
    """Return the largest difference of two trees, each leaf's largest value as 1."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        largest = float(np.abs(b).max()) or 1.0
        # np.maximum hands on what is no number, max() would not.
        worst = np.maximum(worst, np.abs(np.subtract(a, b)).max() / largest)
    return float(worst)


def tolerance(exact: float, rounded: float, precision: str = "float32") -> float:
    """Return how far results may differ: `exact` in float32 on a CPU, else `rounded`.

    A GPU multiplies float32 in fewer bits, and chooses algorithms by the batch.
    """
    on_cpu = jax.default_backend() == "cpu"
    is_wide = precisions.resolve(precision) == "float32"
    return exact if on_cpu and is_wide else rounded


def run(
    programs: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, Seconds]:
    """Run every program `repeats` times, one after another, and time it.

    Every other time the order is turned round.

    Args:
      programs: each waits for its results, and has run before.
    """
    spent = {name: [] for name in programs}
    for turn in range(repeats):
        for name in list(programs)[:: -1 if turn % 2 else 1]:
            wall, processor = time.perf_counter(), time.process_time()
            programs[name]()
            now = time.perf_counter() - wall, time.process_time() - processor
            spent[name].append(now)
    on_cpu = jax.default_backend() == "cpu"
    found = {}
    for name, samples in spent.items():
        wall, processor = np.median(samples, axis=0)
        found[name] = Seconds(float(wall), float(processor if on_cpu else np.nan))
    return found


def compare(
    case: str,
    against: str,
    ours: Seconds,
    other: Seconds,
    compile_seconds: float,
    difference: float,
    facts: dict[str, float],
) -> Comparison:
    """Return the ratios of two timed programs."""
    return Comparison(
        case,
        against,
        ours.wall,
        other.wall / ours.wall,
        other.processor / ours.processor,
        compile_seconds,
        difference,
        facts,
    )


def measured(
    case: str, ours: Seconds, compile_seconds: float, facts: dict[str, float]
) -> Comparison:
    """Return the time of a program that is compared with nothing."""
    return Comparison(
        case, "", ours.wall, np.nan, np.nan, compile_seconds, np.nan, facts
    )
