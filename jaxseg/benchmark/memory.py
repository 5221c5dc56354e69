"""How much temporary memory a shared rollout takes, by trials and by frames.

One episode of T frames, K trials.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxseg import dynamic
from jaxseg.benchmark import rollout, scene, turns
from jaxseg.dynamic import sharing

TRIALS = (4, 32, 128)
# What a rollout may hold, in bytes: for every decision and every trial a few numbers
# each, some of them twice while a loop turns; for every distinct pair, which it is; and
# some copies of the deviations of one frame's pairs.
DECISION_BYTES = 48
TRIAL_BYTES = 512
PAIR_BYTES = 16
FRAME_COPIES = 3
# Networks run on one size of batches, so that nothing but trials and frames changes.
BATCH = 4


class Row(NamedTuple):
    """Bytes of two programs that do the same."""

    trials: int
    frames: int
    temporary: int  # of the rollout that shares pairs
    results: int  # of the same: trials, pairs and what is kept for a gradient
    plain: int  # temporary, of the plain rollout under vmap
    episode: int  # what both are given, beside weights
    kept: int  # room for deviations and what policies see of pairs, within `results`
    pair: int  # of the deviation, and of what a policy sees, of one pair

    def lists(self) -> int:
        """Return what trials and pairs take at most, beside `kept` and networks."""
        decisions = self.trials * (self.frames - 1)
        pairs = sharing.pair_limit(self.trials, 1, self.frames)
        at_once = min(self.trials, self.frames - 1)
        return (
            decisions * DECISION_BYTES
            + self.trials * TRIAL_BYTES
            + pairs * PAIR_BYTES
            + at_once * FRAME_COPIES * self.pair
        )

    def megabytes(self) -> dict[str, float]:
        """Return what is measured, in MB."""
        return {
            "temporary_mb": self.temporary / 1e6,
            "plain_temporary_mb": self.plain / 1e6,
            "results_mb": self.results / 1e6,
            "kept_mb": self.kept / 1e6,
            "episode_mb": self.episode / 1e6,
            "lists_mb_at_most": self.lists() / 1e6,
        }


def table(
    size: int, trials: Iterable[int], frames: Iterable[int], kept: int | None
) -> Iterator[Row]:
    """Return the memory at every number of trials and of frames; see `measure`.

    Args:
      size: pixels of a side.
    """
    given = scene.make(size, 2, 1)
    for each in itertools.product(trials, frames):
        yield measure(given, *each, kept)


def measure(given: scene.Scene, trials: int, frames: int, kept: int | None) -> Row:
    """Compile rollouts of a scene as if its episode had T frames; nothing runs.

    Args:
      kept: of how many pairs deviations are kept at most; None keeps all.
    """
    how = dynamic.Sharing(
        buckets=(BATCH,), score_batch=BATCH, keep_seen=True, kept=kept
    )
    shapes = lambda tree: jax.tree.map(lambda x: _shape(x, x.shape), tree)
    policy = jax.eval_shape(lambda: scene.policy_variables(given, scene.LATE))
    policy["lean"] = _shape(policy["lean"], (frames,))
    number = jax.ShapeDtypeStruct((), jnp.float32)
    episodes = jax.tree.map(
        lambda x: _shape(x, (1, frames, *x.shape[2:])), given.episodes
    )
    arguments = (
        dynamic.RolloutParams(shapes(given.variables), (policy, number), number),
        jax.eval_shape(lambda: scene.rngs(0, 1, trials)),
        episodes,
    )
    ours, _ = turns.compiled(rollout.shared_fn(given, how=how), *arguments)
    plain, _ = turns.compiled(rollout.plain_fn(given), *arguments)
    spent = ours.memory_analysis()
    return Row(
        trials,
        frames,
        spent.temp_size_in_bytes,
        spent.output_size_in_bytes,
        plain.memory_analysis().temp_size_in_bytes,
        sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(episodes)),
        _kept(given, trials, frames, kept),
        4 * (math.prod(given.deviation) + _seen(given)),
    )


def _kept(given, trials, frames, kept) -> int:
    """Return the bytes that pairs take up in the results."""
    pairs = sharing.pair_limit(trials, 1, frames)
    # With room for those of a frame more.
    room = pairs + min(trials, frames - 1)
    rows = room if kept is None else min(kept, room)
    return 4 * (rows * math.prod(given.deviation) + pairs * _seen(given))


def _seen(given) -> int:
    return given.settings["policy"]["hidden"][-1]


def _shape(x, shape) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, x.dtype)
