"""The gradient of policies whose trials share their pairs (the product path).

As `learning.policy.gradient_fn`, with the rollouts of `dynamic.sharing`: networks run
once for a distinct pair, and each policy's trunk goes forwards and backwards once for
those that it meets, in batches. Deviations that found no room (`Sharing.kept`) are
computed once more for the gradient, by every policy that meets them. P policies, U
units of k trials, S decisions, M pairs.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg import dynamic
from jaxseg.dynamic import sharing
from jaxseg.learning import objective, policy
from jaxseg.learning.recipe import Recipe
from jaxseg.learning.units import Units
from jaxseg.runtime import parallel
from jaxseg.types import Array, Metrics, Params, PRNGKey

_STEPS = 16  # decisions whose logits are computed together


class Points(NamedTuple):
    """What the policies of a population differ in, beside their weights and draws."""

    budget: Array  # [P] eta
    action_cap: Array  # [P] epsilon


def points(recipes: Sequence[Recipe]) -> Points:
    """Return what the policies of recipes differ in; all else must be the same."""
    return Points(
        jnp.array([recipe.eta for recipe in recipes], jnp.float32),
        jnp.array([recipe.action_cap for recipe in recipes], jnp.float32),
    )


def gradient_fn(
    recipe: Recipe,
    pair_fn: dynamic.PairFn,
    policy_fn: dynamic.PolicyFn,
    *,
    learner: dynamic.PolicyFn | None = None,
    episode_fn: policy.EpisodeFn = lambda frozen, episode: episode,
    how: dynamic.Sharing = dynamic.DEFAULT_SHARING,
    axis_name: str | None = parallel.AXIS,
) -> Callable[[Params, Any, Units, PRNGKey], tuple[Params, Metrics]]:
    """Return the per-device function of one policy; see `policy.gradient_fn`.

    Returns:
      params, frozen, units, rng -> gradient of minus the objective, metrics. Both are
      averaged over the devices.
    """
    point = points([recipe])
    together = population_gradient_fn(
        recipe,
        pair_fn,
        policy_fn,
        learner=learner,
        episode_fn=episode_fn,
        how=how,
        axis_name=axis_name,
    )

    def gradient(params, frozen, units, rng):
        params = jax.tree.map(lambda x: jnp.asarray(x)[None], params)
        found = together(params, (frozen, point), units, rng[None])
        return jax.tree.map(lambda x: x[0], found)

    return gradient


def population_gradient_fn(
    recipe: Recipe,
    pair_fn: dynamic.PairFn,
    policy_fn: dynamic.PolicyFn,
    *,
    learner: dynamic.PolicyFn | None = None,
    episode_fn: policy.EpisodeFn = lambda frozen, episode: episode,
    how: dynamic.Sharing = dynamic.DEFAULT_SHARING,
    axis_name: str | None = parallel.AXIS,
) -> Callable[[Params, Any, Units, PRNGKey], tuple[Params, Metrics]]:
    """Return the per-device function of P policies on the same episodes.

    Args:
      recipe: of all; `eta` and `action_cap` are those of the points instead.
      pair_fn, policy_fn, learner, episode_fn: as for `policy.gradient_fn`; a `Policy`
        shares its trunk.
      how: how to compute.
      axis_name: of the devices; None on one device without pmap.

    Returns:
      params [P, ...], (frozen, points), units, rngs [P] -> gradients [P, ...] of minus
      each policy's objective, metrics [P]. All are averaged over the devices.
    """
    scheduler = dynamic.sampled(dynamic.halves(policy_fn))
    learner = dynamic.halves(learner or policy_fn)

    def gradient(params, frozen_and_points, units, rngs):
        frozen, points = frozen_and_points
        episodes = jax.lax.map(functools.partial(episode_fn, frozen), units.episode)
        rolled = dynamic.rollout_population(
            pair_fn,
            scheduler,
            dynamic.RolloutParams(frozen, (params, points.action_cap), points.budget),
            jax.vmap(lambda rng: _trial_rngs(rng, units))(rngs),
            episodes,
            rules=recipe.rules,
            how=how._replace(keep_seen=True),
        )
        advantages, returns = jax.vmap(
            lambda trials: policy.advantages_of(recipe, trials, axis_name)
        )(rolled.trials)
        grads, metrics = pair_gradients(
            learner,
            recipe.terms,
            params,
            rolled,
            advantages,
            points.action_cap,
            lambda *pair: sharing.evaluate(pair_fn, frozen, episodes, *pair).deviation,
            how.gradient_batch,
        )
        metrics |= jax.vmap(policy.describe)(rolled.trials, returns)
        metrics["pairs"] = jnp.full(
            len(points.budget), rolled.distinct.count, jnp.float32
        )
        if axis_name is None:
            return grads, metrics
        return parallel.mean_over_devices((grads, metrics), axis_name)

    return gradient


def _trial_rngs(rng: PRNGKey, units: Units) -> PRNGKey:
    """Return the keys of all trials of units, [U, k]."""

    def one(index, trials):
        return dynamic.trial_rngs(jax.random.fold_in(rng, index), trials)

    return jax.vmap(one)(units.episode_index, units.trials)


def pair_gradients(
    halves: dynamic.Policy,
    terms: objective.Terms,
    params: Params,
    rolled: dynamic.SharedTrajectory,
    advantages: Array,
    action_cap: Array,
    deviation_fn: Callable[[Array, Array, Array], Any],
    batch: int,
) -> tuple[Params, Metrics]:
    """Return the gradient of minus the objective of P policies, and metrics [P].

    Args:
      params: [P, ...].
      advantages: [P, U, k, S].
      action_cap: [P].
      deviation_fn: episodes, key frames, frames [B] -> deviations [B, ...], of pairs
        whose deviations have not been kept.
      batch: distinct pairs that go through the trunk together.
    """
    back = _Backward(halves, terms, params, rolled)
    (grads, seen_grads), metrics = back.head(advantages, action_cap)
    trunk_grads = back.trunk(seen_grads, deviation_fn, batch)
    return jax.tree.map(jnp.add, grads, trunk_grads), metrics


class _Backward:
    """The gradient in two parts: of what a decision has, then of what a pair has."""

    def __init__(self, halves, terms, params, rolled):
        self.halves, self.terms = halves, terms
        self.params, self.rolled = params, rolled
        self.count = len(rolled.pair)  # P

    def head(self, advantages, action_cap) -> tuple[tuple[Params, Any], Metrics]:
        """Return gradients by the parameters and by what is seen of each pair."""

        def loss_fn(params, seen):
            logits = sharing.over_policies(self._logits, self.count)(
                params, seen, self.rolled.trials, self.rolled.place
            )

            def one(logits, trials, advantages, cap):
                return objective.policy_objective(
                    logits, trials.action, advantages, trials.valid, self.terms, cap
                )

            values, metrics = jax.vmap(one)(
                logits, self.rolled.trials, advantages, action_cap
            )
            # A policy's objective has its own parameters alone.
            return -values.sum(), metrics | {"loss": -values}

        seen = self.rolled.seen.value
        return jax.grad(loss_fn, (0, 1), has_aux=True)(self.params, seen)

    def _logits(self, params, seen, trials, place):
        """Return the logits [U, k, S, 2] of one policy."""

        def one(row):
            which, key_frame, frame, expert = row
            observation = dynamic.Observation(
                jax.tree.map(lambda x: x[which], seen), expert, frame - key_frame, frame
            )
            return self.halves.head(params, observation)

        rows = (place, trials.key_frame, trials.frame, trials.expert)
        by_decision = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 0), rows)
        mapped = jax.checkpoint(jax.vmap(jax.vmap(jax.vmap(one))))
        return jnp.moveaxis(policy.chunked(mapped, by_decision, _STEPS), 0, 2)

    def trunk(self, seen_grads, deviation_fn, batch: int) -> Params:
        """Return the gradient through the trunk, a batch of pairs at a time.

        Args:
          seen_grads: [P, N, ...] by what is seen.
          deviation_fn: episode, key frame, frame [B] -> deviations [B, ...], of pairs
            whose deviations have not been kept.
        """
        own = self.rolled.seen
        limit = own.pair.shape[1]
        batch = min(batch, limit)

        def add(carry):
            begun, total = carry
            # A last batch that does not fit begins earlier, and counts what is new.
            start = jnp.minimum(begun, limit - batch)
            is_new = start + jnp.arange(batch) >= begun
            rows = lambda x: jax.lax.dynamic_slice_in_dim(x, start, batch, 1)

            def cotangent(x):
                return jnp.where(is_new.reshape(-1, *(1,) * (x.ndim - 2)), rows(x), 0)

            deviation = self._deviations(rows(own.pair), deviation_fn)

            def seen(params):
                return sharing.over_policies(
                    jax.vmap(self.halves.trunk, (None, 0)), self.count
                )(params, deviation)

            _, back = jax.vjp(seen, self.params)
            (found,) = back(jax.tree.map(cotangent, seen_grads))
            return begun + batch, jax.tree.map(jnp.add, total, found)

        zeros = jax.tree.map(jnp.zeros_like, self.params)
        more = lambda carry: carry[0] < own.count.max()
        return jax.lax.while_loop(more, add, (jnp.int32(0), zeros))[1]

    def _deviations(self, pair, deviation_fn):
        """Return the deviations [P, B, ...] of distinct pairs [P, B]."""
        distinct = self.rolled.distinct

        def fresh():
            # One policy after another, so that memory does not grow with P.
            one = lambda pair: deviation_fn(*(x[pair] for x in distinct[:3]))
            return jax.lax.map(one, pair)

        if distinct.deviation is None:
            return fresh()
        stored = lambda: jax.tree.map(lambda x: x[pair], distinct.deviation)
        return jax.lax.cond(pair.max() < distinct.stored, stored, fresh)
