"""A rollout whose loop runs on the host: the simplest way to share pairs.

It gives what `rollout_trials` gives, decision for decision, and costs about what
`rollout_episodes` does on a CPU. Every frame waits for the device once and loops in
Python, so that it can be followed with a debugger; it cannot be part of a compiled
program. It stands beside the others as a reference that shares no loop with them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.dynamic import batches, deferred, environment, pairs, sharing
from jaxseg.dynamic.types import (
    DEFAULT_RULES,
    PairFn,
    RolloutParams,
    Rules,
    Scheduler,
    Trajectory,
)
from jaxseg.types import PRNGKey


def rollout_hosted(
    pair_fn: PairFn,
    scheduler: Scheduler,
    params: RolloutParams,
    rngs: PRNGKey,
    episode: Any,
    *,
    rules: Rules = DEFAULT_RULES,
    how: sharing.Sharing = sharing.DEFAULT_SHARING,
) -> Trajectory:
    """Run K trials of one episode, [K, T-1]; see `rollout_trials`. Not for jit.

    Args:
      how: its `buckets` are the sizes of batches of pairs, its `score_batch` how many
        are scored together.

    Returns:
      Numpy arrays. Rows of a trial that has ended are zeros, their `valid` False;
      `score` is NaN where the action is non-key, as its U_a0 is not computed.
    """
    decide = _decide(scheduler, rules)
    key_scores = np.asarray(episode.key_scores)
    num_trials, num_frames = len(rngs), len(key_scores)
    states = _spread(environment.reset(rules), num_trials)
    memory = _spread(scheduler.start(params.scheduler), num_trials)
    sizes, rows = batches.network_sizes(how.buckets, num_trials), []
    for frame in range(1, num_frames):
        alive = ~np.asarray(states.done)
        if not alive.any():
            break
        key_frames = np.asarray(states.key_frame)
        keys = np.unique(key_frames[alive])
        seen = _look(pair_fn, scheduler, params, episode, keys, frame, sizes)
        row = np.searchsorted(keys, key_frames).clip(max=len(keys) - 1)
        states, memory, decided = decide(
            params.scheduler, params.budget, seen, rngs, states, memory, row
        )
        rows.append(decided)
    rows += [deferred.nothing((num_trials,))] * (num_frames - 1 - len(rows))
    decided = jax.tree.map(lambda *x: np.stack(x, 1), *rows)
    scores = np.zeros(decided.paid.shape, np.float32)
    scores[decided.paid] = _scores(pair_fn, params, episode, decided, how)
    trials = deferred.pay(decided, key_scores[1:], scores)
    return jax.tree.map(np.asarray, trials)


def _look(pair_fn, scheduler, params, episode, keys, frame, sizes):
    """Return what the scheduler sees of the pairs (k, frame), [>= n, ...] of [n] k."""
    parts, largest = [], sizes[-1]
    for begun in range(0, len(keys), largest):
        some = keys[begun : begun + largest]
        size = next(size for size in sizes if size >= len(some))
        some = np.pad(some, (0, size - len(some)), "edge")
        parts.append(_looks(pair_fn, scheduler)(params, episode, some, frame))
    return jax.tree.map(lambda *x: jnp.concatenate(x), *parts)


def _scores(pair_fn, params, episode, decided, how):
    """Return U_a0 of the decisions that are paid, every pair computed once."""
    paid = np.stack([decided.key_frame, decided.frame], -1)[decided.paid]
    if not len(paid):
        return paid[:, 0]
    distinct, which = np.unique(paid, axis=0, return_inverse=True)
    found = pairs.evaluate_pairs(
        pair_fn,
        params.framework,
        episode,
        *distinct.T,
        batch_size=batches.score_size(how.score_batch),
    )
    return found.non_key_score[which.reshape(-1)]


@functools.lru_cache(maxsize=8)
def _looks(pair_fn, scheduler):
    def one(params, episode, key_frame, frame):
        pair = pair_fn(params.framework, episode, key_frame, frame)
        return scheduler.look(params.scheduler, pair.deviation)

    return jax.jit(jax.vmap(one, (None, None, 0, None)))


@functools.lru_cache(maxsize=8)
def _decide(scheduler, rules):
    """Return the compiled decision of K trials on their rows of what is seen."""

    def trial(params, budget, seen, rng, state, memory, row):
        mine = jax.tree.map(lambda x: x[row], seen)
        return deferred.decide(
            scheduler, rules, params, budget, mine, rng, state, memory
        )

    return jax.jit(jax.vmap(trial, (None, None, None, 0, 0, 0, 0)))


def _spread(tree, count):
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *jnp.shape(x))), tree)
