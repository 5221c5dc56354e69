"""What the programs of every framework have in common.

A program is made of a folded graph and its input, has the name of its framework, runs
when it is called, and gives the leaves of the result by `arrays`.
"""

import time
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np

from jaxseg.runtime import host


class Missing(Exception):
    """There is no program of a framework for a network here; the message says why."""


class Program(Protocol):
    """A network with an input, ready to run in a framework.

    To make one raises `Missing` where the framework is not installed or refuses, and
    NotImplementedError for an operation that is not translated.
    """

    NAME: ClassVar[str]

    def __call__(self) -> Any:
        """Run the network to its end."""

    def arrays(self) -> list[np.ndarray]:
        """Run the network; return the leaves of its result."""


def fastest(seconds: Callable[[int], float]) -> int:
    """Return a number of threads, one or one a core, whichever takes fewer seconds.

    Cores are those that the process may use.

    Where cores are shared, threads that wait for each other can take a hundred times as
    long as one.
    """
    return min(sorted({1, host.cores()}), key=seconds)


def second_run(run: Callable[[], Any]) -> float:
    """Return the seconds of the second of two runs."""
    run()
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
