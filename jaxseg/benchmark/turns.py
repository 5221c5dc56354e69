"""Time programs in turns, so that what else the machine does falls on all of them."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np


class Seconds(NamedTuple):
    """Medians over the samples of a program."""

    wall: float
    processor: float  # NaN off the CPU


def run(
    programs: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, Seconds]:
    """Run every program `repeats` times, one after another, and time it.

    Args:
      programs: each waits for its results.
    """
    spent = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            wall, processor = time.perf_counter(), time.process_time()
            program()
            now = time.perf_counter() - wall, time.process_time() - processor
            spent[name].append(now)
    on_cpu = jax.default_backend() == "cpu"
    found = {}
    for name, samples in spent.items():
        wall, processor = np.median(samples, axis=0)
        found[name] = Seconds(float(wall), float(processor if on_cpu else np.nan))
    return found
