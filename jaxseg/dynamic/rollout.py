"""Roll a scheduler out over an episode, one trial or many, inside jit."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxseg.dynamic import environment
from jaxseg.dynamic.types import (
    DEFAULT_RULES,
    PairFn,
    RolloutParams,
    Rules,
    Scheduler,
    Trajectory,
)
from jaxseg.types import Array, PRNGKey


def rollout(
    pair_fn: PairFn,
    scheduler: Scheduler,
    params: RolloutParams,
    rng: PRNGKey,
    episode: Any,
    *,
    rules: Rules = DEFAULT_RULES,
) -> Trajectory:
    """Run one trial over an episode (section 3.2, "Episode settings").

    Pure, and written for one trial: batch with `jax.vmap`. The randomness of frame i
    is `fold_in(rng, i)`, so that it depends neither on batching nor on devices.

    Args:
      pair_fn: where D_{i->k} and U_a0 come from (`networks_pair`, `tabled_pair`, or
        the reader's own).
      scheduler: who decides.
      params: variables for `pair_fn`, parameters of the scheduler, budget eta.
      rng: consumed.
      episode: anything with `key_scores` [T] that `pair_fn` understands.

    Returns:
      A trajectory of T - 1 rows; rows after the stop have `valid` False.
    """
    start = (environment.reset(rules), scheduler.start(params.scheduler))
    look = functools.partial(scheduler.look, params.scheduler)

    def decide_frame(carry, frame):
        state, memory = carry
        observation, non_key_score = environment.observe(
            pair_fn, params.framework, episode, state, rules, look
        )
        decision, remembered = scheduler.decide(
            params.scheduler, jax.random.fold_in(rng, frame), observation, memory
        )
        key_score = episode.key_scores[state.frame]
        gain = key_score - non_key_score
        next_state, reward = environment.step(
            rules, state, decision.action, gain, params.budget
        )
        row = Trajectory(
            frame=state.frame,
            key_frame=state.key_frame,
            action=decision.action & ~state.done,
            key_probability=decision.key_probability,
            expert=observation.expert,
            reward=reward,
            score=jnp.where(decision.action, key_score, non_key_score),
            valid=~state.done,
        )
        fresh = scheduler.start(params.scheduler)
        memory = jax.tree.map(
            lambda new, old: jnp.where(decision.action, new, old), fresh, remembered
        )
        return (next_state, memory), row

    num_frames = episode.key_scores.shape[0]
    frames = jnp.arange(1, num_frames, dtype=jnp.int32)
    _, trajectory = jax.lax.scan(decide_frame, start, frames)
    return trajectory


def trial_rngs(rng: PRNGKey, trials: Array) -> PRNGKey:
    """Return a key for each global trial index ([K] int32), whatever the device."""
    return jax.vmap(lambda trial: jax.random.fold_in(rng, trial))(trials)


def rollout_trials(
    pair_fn: PairFn,
    scheduler: Scheduler,
    params: RolloutParams,
    rngs: PRNGKey,
    episode: Any,
    *,
    rules: Rules = DEFAULT_RULES,
) -> Trajectory:
    """Run K trials of one episode that share all but their randomness, [K, T-1]."""

    def trial(rng):
        return rollout(pair_fn, scheduler, params, rng, episode, rules=rules)

    return jax.vmap(trial)(rngs)
