"""What all measurements of `jaxseg.benchmark.targets` share: sizes, scenes, figures."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxseg import model_file
from jaxseg.benchmark import rollout, scene, stream, turns


class Sizes(NamedTuple):
    """How large everything is; the paper's by default."""

    size: int = 513
    frames: int = 270
    trials: int = 32
    episodes: int = 8
    policies: int = 8
    updates: int = 10
    batch: int = 256  # the largest, of pairs
    images: int = 8  # that go through N together
    repeats: int = 20
    precision: str = "auto"
    network: str = stream.NETWORK


class Figure(NamedTuple):
    """One measured number."""

    name: str
    value: float
    unit: str
    seconds: float  # a call took
    flop: float  # of a call; 0 where FLOP say nothing
    compile_seconds: float
    facts: dict[str, float]


class Work:
    """What several parts measure on, made when first asked for."""

    def __init__(self, sizes: Sizes):
        self.sizes = sizes

    @functools.cached_property
    def one(self) -> scene.Scene:
        """Return a scene of one episode."""
        return scene.make(
            self.sizes.size, self.sizes.frames, 1, precision=self.sizes.precision
        )

    @functools.cached_property
    def several(self) -> scene.Scene:
        """Return a scene of a mini-batch, all of whose episodes have the same frames.

        Trials never share pairs across episodes, so that this costs as much as others.
        """
        again = lambda x: jnp.repeat(x, self.sizes.episodes, axis=0)
        return self.one._replace(episodes=jax.tree.map(again, self.one.episodes))

    @functools.cached_property
    def alone(self) -> turns.Program:
        """Return the rollout of one episode that shares pairs."""
        return turns.Program(rollout.shared_fn(self.one))

    @functools.cached_property
    def model(self) -> model_file.Model:
        """Return N, F and the policy for streams."""
        return stream.make_model(self.sizes.network, self.sizes.size)

    def seconds(self, program: Callable[[], object], repeats: int = 0) -> float:
        """Return the median wall time of a program that has run once."""
        return turns.run({"": program}, repeats or self.sizes.repeats)[""].wall


def few(sizes: Sizes) -> int:
    """Return how often what takes long is repeated."""
    return max(1, sizes.repeats // 4)
