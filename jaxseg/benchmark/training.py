"""The policy's gradient on distinct pairs against the one on every decision."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxseg import dynamic
from jaxseg.benchmark import cost, peaks, scene, turns
from jaxseg.errors import UserError
from jaxseg.learning import objective, policy, recipe, shared

TOLERANCE, _ROUNDED = 1e-4, 1e-2  # of the largest value of a leaf
_SHAPE = (9, 9, 384)  # of a deviation at 513 x 513


def compare(frames: int, trials: int, repeats: int) -> Iterator[turns.Comparison]:
    """Time the gradient of one episode, of a policy early and late.

    Deviations are drawn, and both read them from the same table, so that nothing but
    the policy is timed.

    Raises:
      UserError: the gradients do not agree.
    """
    given = scene.policy_only(_SHAPE, frames)
    programs = _Programs(given)
    for habit in (scene.LATE, scene.UNDECIDED, scene.EARLY):
        yield _compare(given, programs, habit, trials, repeats)


def _compare(given, programs, habit, trials, repeats) -> turns.Comparison:
    variables = scene.policy_variables(given, habit)
    table = jax.tree.map(lambda x: x[0], given.episodes)
    stacked = jax.tree.map(lambda x: jnp.asarray(x)[None], variables)
    caps = jnp.float32(scene.CAP)[None]
    params = dynamic.RolloutParams(
        None, (stacked, caps), jnp.float32(habit.budget)[None]
    )
    rolled = programs.roll(params, scene.rngs(0, 1, trials)[None], given.episodes)
    first = jax.tree.map(lambda x: x[0], rolled.trials)  # [E, K, S]
    returns = objective.discounted_returns(first.reward, first.valid, 1.0)
    advantages = returns - objective.leave_one_out(returns)
    ours = lambda: programs.ours(stacked, rolled, advantages, table)
    plain = lambda: programs.plain(variables, first, advantages, table)
    difference = check(habit.name, ours(), plain())
    seconds = turns.run({"ours": ours, "plain": plain}, repeats)
    decisions, distinct = int(first.valid.sum()), int(rolled.distinct.count)
    flop = distinct * cost.trunk_flop(given, gradient=True)
    return turns.compare(
        f"gradient, {habit.name}",
        "every decision",
        seconds["ours"],
        seconds["plain"],
        programs.ours.compile_seconds,
        difference,
        {
            "frames": len(table.key_scores),
            "trials": trials,
            "decisions": decisions,
            "distinct_pairs": distinct,
            "pairs_per_second": distinct / seconds["ours"].wall,
            "sharing": decisions / distinct,
            "share_of_peak": peaks.of_device().share(flop, seconds["ours"].wall),
            **cost.memory(programs.ours.compiled),
            "plain_seconds": seconds["plain"].wall,
            "plain_temporary_mb": cost.temporary_mb(programs.plain.compiled),
        },
    )


class _Programs:
    """What is timed; habits differ in values alone."""

    def __init__(self, given):
        self._policy, self._terms = given.policy, objective.DEFAULT_TERMS
        roll = functools.partial(
            dynamic.rollout_population,
            dynamic.tabled_pair,
            dynamic.sampled(given.policy),
            rules=given.rules,
            how=dynamic.Sharing(keep_seen=True),
        )
        self.roll = turns.Program(roll)
        self.ours, self.plain = turns.Program(self._ours), turns.Program(self._plain)

    def _ours(self, params, rolled, advantages, table):
        caps = jnp.full(len(rolled.pair), scene.CAP)

        def deviation(_, key_frames, frames):
            read = jax.vmap(dynamic.tabled_pair, (None, None, 0, 0))
            return read(None, table, key_frames, frames).deviation

        found, _ = shared.pair_gradients(
            self._policy,
            self._terms,
            params,
            rolled,
            advantages[None],
            caps,
            deviation,
            128,
        )
        return jax.tree.map(lambda x: x[0], found)

    def _plain(self, params, trials, advantages, table):
        def loss(params):
            logits = policy.trajectory_logits(
                dynamic.tabled_pair,
                self._policy,
                params,
                None,
                table,
                jax.tree.map(lambda x: x[0], trials),
                16,
            )
            value, _ = objective.policy_objective(
                logits[None], trials.action, advantages, trials.valid, self._terms
            )
            return -value

        return jax.grad(loss)(params)


def recipe_of(given: scene.Scene) -> recipe.Recipe:
    """Return how a late policy is updated: reward to go, less that of other trials."""
    return recipe.Recipe(
        rules=given.rules,
        eta=scene.LATE.budget,
        action_cap=scene.CAP,
        discount=1.0,
        returns="reward_to_go",
        baseline="leave_one_out",
        terms=objective.DEFAULT_TERMS,
        split_trials=1,
        chunk=16,
    )


def check(case: str, found: Any, expected: Any) -> float:
    """Return the largest difference of two gradients; see `turns.difference`.

    Raises:
      UserError: they do not agree.
    """
    difference = turns.difference(found, expected)
    tolerance = turns.tolerance(TOLERANCE, _ROUNDED)
    if not difference <= tolerance:
        raise UserError(
            f"the gradients of the case {case} differ by {difference:.2g} of the "
            f"largest value; expected at most {tolerance:.0e}; this is a fault of "
            "jaxseg"
        )
    return difference
