"""A decision whose reward comes later: U_a0 is needed where a key is taken, alone."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.dynamic import environment, history
from jaxseg.dynamic.types import (
    Observation,
    Rules,
    Scheduler,
    State,
    Trajectory,
)
from jaxseg.types import Array, Params, PRNGKey


class Decided(NamedTuple):
    """What is known after a decision of one trial; see `Trajectory`."""

    frame: Array  # [] int32
    key_frame: Array  # [] int32
    action: Array  # [] bool
    key_probability: Array  # []
    expert: Array  # [2]
    paid: Array  # [] bool, the action earns U_a1 - U_a0
    valid: Array  # [] bool


def decide(
    scheduler: Scheduler,
    rules: Rules,
    params: Params,
    budget: Array,
    seen: Any,
    rng: PRNGKey,
    state: State,
    memory: Any,
) -> tuple[State, Any, Decided]:
    """Let one trial decide its frame, knowing what the scheduler's `look` has made.

    Args:
      params: of the scheduler.
      budget: [] eta.
      seen: of the pair (k, i) of the trial.
      rng: of the trial; `fold_in(rng, i)` decides, as in `rollout`.

    Returns:
      The next state and memory, both of a trial that has ended unchanged in what
      matters, and the decision.
    """
    expert = history.expert(rules, state)
    observation = Observation(seen, expert, state.frame - state.key_frame, state.frame)
    decision, remembered = scheduler.decide(
        params, jax.random.fold_in(rng, state.frame), observation, memory
    )
    # Paid 1 where it is paid at all.
    moved, reward = environment.step(
        rules, state, decision.action, jnp.float32(1.0), budget
    )
    fresh = scheduler.start(params)
    memory = jax.tree.map(
        lambda new, old: jnp.where(decision.action, new, old), fresh, remembered
    )
    decided = Decided(
        frame=state.frame,
        key_frame=state.key_frame,
        action=decision.action & ~state.done,
        key_probability=decision.key_probability,
        expert=expert,
        paid=reward > 0,
        valid=~state.done,
    )
    return moved, memory, decided


def nothing(shape: tuple[int, ...]) -> Decided:
    """Return rows of decisions that nobody has taken, [*shape, ...]."""
    flags, numbers = jnp.zeros(shape, bool), jnp.zeros(shape, jnp.int32)
    return Decided(
        frame=numbers,
        key_frame=numbers,
        action=flags,
        key_probability=jnp.zeros(shape),
        expert=jnp.zeros((*shape, 2)),
        paid=flags,
        valid=flags,
    )


def pay(decided: Decided, key_scores: Array, scores: Array) -> Trajectory:
    """Return trajectories, with their rewards.

    Args:
      decided: [..., T-1].
      key_scores: U_a1, and
      scores: U_a0 of every row, [..., T-1] or what broadcasts to it; read where a row
        is paid.

    Returns:
      `score` is NaN where the action is non-key.
    """
    return Trajectory(
        frame=decided.frame,
        key_frame=decided.key_frame,
        action=decided.action,
        key_probability=decided.key_probability,
        expert=decided.expert,
        reward=jnp.where(decided.paid, key_scores - scores, 0.0),
        score=jnp.where(decided.action, key_scores, jnp.nan),
        valid=decided.valid,
    )
