"""Train the policy: rollouts and gradients of a mini-batch of episodes, compiled."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxseg import build, dynamic
from jaxseg.learning import objective, train_state
from jaxseg.learning.loop import Trainer
from jaxseg.learning.recipe import Recipe
from jaxseg.learning.units import Units
from jaxseg.runtime import parallel
from jaxseg.types import Array, Metrics, Params, PRNGKey

PolicyFn = Callable[[Params, dynamic.Observation], Array]  # -> logits [2]
EpisodeFn = Callable[[Any, Any], Any]  # frozen, what a unit carries -> episode


def rollouts_fn(
    recipe: Recipe,
    pair_fn: dynamic.PairFn,
    policy_fn: PolicyFn,
    *,
    episode_fn: EpisodeFn = lambda frozen, episode: episode,
    each: Callable = jax.vmap,
) -> Callable[[Params, Any, Units, PRNGKey], tuple[Any, dynamic.Trajectory]]:
    """Return the function that samples the trials of units; see `gradient_fn`.

    Returns:
      params, frozen, units, rng -> episodes [U, ...], trajectories [U, k, ...].
    """
    scheduler = dynamic.sampled(policy_fn)

    def rollouts(params, frozen, units, rng):
        def roll(unit):
            episode = episode_fn(frozen, unit.episode)
            rngs = dynamic.trial_rngs(
                jax.random.fold_in(rng, unit.episode_index), unit.trials
            )
            rollout_params = dynamic.RolloutParams(
                frozen,
                (params, jnp.float32(recipe.action_cap)),
                jnp.float32(recipe.eta),
            )
            trajectories = dynamic.rollout_trials(
                pair_fn, scheduler, rollout_params, rngs, episode, rules=recipe.rules
            )
            return episode, trajectories

        return each(roll)(units)

    return rollouts


def gradient_fn(
    recipe: Recipe,
    pair_fn: dynamic.PairFn,
    policy_fn: PolicyFn,
    *,
    learner: PolicyFn | None = None,
    episode_fn: EpisodeFn = lambda frozen, episode: episode,
    each: Callable = jax.vmap,
    axis_name: str | None = parallel.AXIS,
) -> Callable[[Params, Any, Units, PRNGKey], tuple[Params, Metrics]]:
    """Return the per-device function: rollouts, objective, gradient, one mean.

    Args:
      pair_fn: where pairs come from.
      policy_fn: variables, observation -> logits [2].
      learner: the same policy, computed as its gradient is to be (for example in
        another precision); None is `policy_fn` itself.
      episode_fn: frozen variables, what a unit carries -> episode.
      each: `jax.vmap` runs the units of a device together, `jax.lax.map`-like one
        after another.
      axis_name: of the devices; None on one device without pmap.

    Returns:
      params, frozen, units, rng -> gradient of minus the objective, metrics. Both are
      averaged over the devices.
    """
    rollouts = rollouts_fn(recipe, pair_fn, policy_fn, episode_fn=episode_fn, each=each)

    def gradient(params, frozen, units, rng):
        episodes, trajectories = rollouts(params, frozen, units, rng)
        advantages, returns = advantages_of(recipe, trajectories, axis_name)

        def loss_fn(params):
            def unit_logits(episode_and_trajectory):
                return trajectory_logits(
                    pair_fn,
                    learner or policy_fn,
                    params,
                    frozen,
                    *episode_and_trajectory,
                    recipe.chunk,
                )

            value, metrics = objective.policy_objective(
                each(unit_logits)((episodes, trajectories)),
                trajectories.action,
                advantages,
                trajectories.valid,
                recipe.terms,
                recipe.action_cap,
            )
            return -value, metrics

        (loss, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        metrics |= {"loss": loss, **describe(trajectories, returns)}
        if axis_name is None:
            return grads, metrics
        return parallel.mean_over_devices((grads, metrics), axis_name)

    return gradient


def trajectory_logits(
    pair_fn: dynamic.PairFn,
    policy_fn: PolicyFn,
    params: Params,
    frozen: Any,
    episode: Any,
    trajectory: dynamic.Trajectory,
    chunk: int,
) -> Array:
    """Evaluate the policy again on the decisions of trials [k, S], with a gradient.

    Observations are recomputed, a few decisions at a time, in the forward and in the
    backward pass, so that memory does not grow with the length of the episode.

    Args:
      chunk: decisions of all trials that are computed together.

    Returns:
      Logits [k, S, 2].
    """

    def one(row):
        key_frame, frame, expert = row
        pair = pair_fn(frozen, episode, key_frame, frame)
        observation = dynamic.Observation(
            pair.deviation, expert, frame - key_frame, frame
        )
        return policy_fn(params, observation)

    rows = (trajectory.key_frame, trajectory.frame, trajectory.expert)
    by_decision = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), rows)
    logits = chunked(jax.checkpoint(jax.vmap(jax.vmap(one))), by_decision, chunk)
    return jnp.swapaxes(logits, 0, 1)


def chunked(fn, rows, size):
    """Apply fn to equal chunks of the leading axis, one after another."""
    count = len(jax.tree.leaves(rows)[0])
    chunks = -(-count // size)

    def pad(x):
        # The last row again: its logits are cut off below.
        tail = jnp.repeat(x[-1:], chunks * size - count, axis=0)
        return jnp.concatenate([x, tail]).reshape(chunks, size, *x.shape[1:])

    out = jax.lax.map(fn, jax.tree.map(pad, rows))
    return out.reshape(chunks * size, *out.shape[2:])[:count]


def advantages_of(recipe, trajectories, axis_name):
    """Return advantages [U, k, S] and the return of every trial [U, k]."""
    returns = objective.RETURNS[recipe.returns](
        trajectories.reward, trajectories.valid, recipe.discount
    )
    totals = trajectories.reward.sum(-1)
    baseline = objective.BASELINES[recipe.baseline]
    if baseline is None:
        return returns, totals
    if recipe.split_trials == 1 or axis_name is None:
        return returns - baseline(returns), totals
    # One unit a device: gather the parts of every episode, take mine.
    parts = jax.lax.all_gather(returns[0], axis_name)
    episodes = parts.reshape(-1, recipe.split_trials * parts.shape[1], parts.shape[2])
    mine = episodes[jax.lax.axis_index(axis_name) // recipe.split_trials]
    return returns - baseline(returns, mine[None]), totals


def describe(trajectories, totals):
    live = trajectories.valid.sum(-1)
    rates = trajectories.action.sum(-1) / jnp.maximum(live, 1)
    return {
        "return": totals.mean(),
        "key_rate": rates.mean(),
        "length": live.mean(),
        "stopped": (~trajectories.valid[..., -1]).mean(),
    }


def trainer(
    settings: dict[str, Any],
    gradient: Callable,
    frozen: Any,
    batch_fn: Callable[[int], Units],
    tx: optax.GradientTransformation,
    *,
    seed: int | Sequence[int],
    num_devices: int,
    how: str,
) -> Trainer:
    """Return the trainer of a policy, or of P policies on the same episodes.

    Args:
      gradient: of `gradient_fn`; of `shared.population_gradient_fn` for P policies.
      frozen: what it reads: variables of N and F, or a pool of pair tables.
      batch_fn: step -> units, a function of (seed, step) alone.
      seed: of weights and actions. P of them make P policies: the state and the
        metrics then have P as their leading axis.
    """
    alone = isinstance(seed, int)
    each = (lambda fn: fn) if alone else jax.vmap
    spread = parallel.data_parallel(
        gradient, (None, None, 0, None), num_devices=num_devices, how=how
    )
    frozen = parallel.place(frozen, num_devices)
    last = f"FC{len(settings['policy']['hidden'])}"

    def drawn(fn):
        """Return fn(seed), one by one: bit for bit what policies alone begin with."""
        if alone:
            return fn(seed)
        return jax.tree.map(lambda *x: jnp.stack(x), *map(fn, seed))

    rng = drawn(jax.random.key)

    def init_fn():
        params = drawn(functools.partial(build.init, settings, "policy"))
        state = each(functools.partial(train_state.create, optimizer=tx))(params)
        return parallel.place(state, num_devices)

    @functools.partial(jax.jit, donate_argnums=0)
    @each
    def apply(state, grads):
        state = train_state.apply_gradients(state, grads, tx)
        kernel = state.params["params"][last]["kernel"]
        expert = kernel[-2:, 1] - kernel[-2:, 0]
        metrics = {
            "grad_norm": optax.tree.norm(grads),
            "kar_weight": expert[0],
            "lkd_weight": expert[1],
        }
        return state, metrics

    def update_fn(state, units, step):
        rngs = each(functools.partial(jax.random.fold_in, data=step))(rng)
        grads, metrics = spread(state.params, frozen, units, rngs)
        state, more = apply(state, grads)
        return state, metrics | more

    return Trainer(init_fn, batch_fn, update_fn, place_fn=spread.split)
