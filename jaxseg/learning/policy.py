"""Train the policy: rollouts and gradients of a mini-batch of episodes, compiled.

A mini-batch is E episodes of K trials. It is cut into units, each (a part of) the
trials of one episode, so that units divide over devices: E units of K trials, or, with
fewer episodes than devices, one unit a device of E K / D trials.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxseg import build, dynamic
from jaxseg.errors import UserError
from jaxseg.learning import objective, train_state
from jaxseg.learning.loop import Trainer
from jaxseg.runtime import parallel
from jaxseg.types import Array, Metrics, Params, PRNGKey


class Units(NamedTuple):
    """A mini-batch, U units of k trials; the leading axis is split over devices."""

    episode: Any  # [U, ...] clips or pooled episodes
    episode_index: Array  # [U] int32, which episode of the mini-batch
    trials: Array  # [U, k] int32, which of its trials


class Recipe(NamedTuple):
    """How trajectories become a gradient; see `configs/policy.py` (static)."""

    rules: dynamic.Rules
    eta: float
    action_cap: float
    discount: float
    entropy_cost: float
    returns: str
    baseline: str
    split_trials: int  # devices that share one episode
    chunk: int  # decisions whose logits are recomputed together


def recipe(settings: dict[str, Any], num_devices: int) -> Recipe:
    """Read the recipe of a policy group and check its numbers.

    Raises:
      UserError: eta outside (0, 1], an unknown option, or episodes and trials that do
        not divide over the devices.
    """
    p = settings["policy"]
    if not 0.0 < p["eta"] <= 1.0:
        raise UserError(
            f"policy.eta is {p['eta']}; expected a key ratio above 0 and at most 1; "
            "change --config.policy.eta"
        )
    least = {"window": 1, "trials": 1, "episodes": 1, "episode_length": 2}
    least |= {"pool": 1} if p["pairs"] == "tables" else {}
    for name, lowest in least.items():
        if p[name] < lowest:
            raise UserError(
                f"policy.{name} is {p[name]}; expected {lowest} or more; change "
                f"--config.policy.{name}"
            )
    for name, allowed in (
        ("returns", ("reward_to_go", "whole")),
        ("baseline", ("none", "leave_one_out")),
        ("key_ratio", ("window", "elapsed", "non_key")),
        ("key_distance", ("window", "frames", "clipped")),
        ("pairs", ("networks", "tables")),
    ):
        if p[name] not in allowed:
            raise UserError(
                f"policy.{name} is {p[name]!r}; expected {' or '.join(allowed)}; "
                f"change --config.policy.{name}"
            )
    return Recipe(
        rules=build.rules(settings),
        eta=p["eta"],
        action_cap=build.action_cap(settings),
        discount=p["discount"],
        entropy_cost=p["entropy_cost"],
        returns=p["returns"],
        baseline=p["baseline"],
        split_trials=devices_per_episode(p["episodes"], p["trials"], num_devices),
        chunk=16 if p["pairs"] == "tables" else 1,
    )


def devices_per_episode(episodes: int, trials: int, num_devices: int) -> int:
    """Return over how many devices one episode's trials are split.

    Raises:
      UserError: neither episodes nor trials divide over the devices.
    """
    if episodes % num_devices == 0:
        return 1
    split = num_devices // episodes
    if num_devices % episodes or trials % split:
        raise UserError(
            f"found {episodes} episodes of {trials} trials for {num_devices} devices; "
            f"expected episodes to be a multiple of {num_devices}, or {num_devices} to "
            "be a multiple of the episodes with trials that divide by the quotient; "
            "change policy.episodes, policy.trials or runtime.devices"
        )
    return split


def make_units(episodes: Any, num_episodes: int, trials: int, split: int) -> Units:
    """Cut E episodes (leading axis) of K trials into E * split units."""
    index = np.repeat(np.arange(num_episodes, dtype=np.int32), split)
    blocks = np.arange(trials, dtype=np.int32).reshape(split, -1)
    return Units(
        episode=jax.tree.map(
            lambda x: np.asarray(x) if split == 1 else np.asarray(x)[index], episodes
        ),
        episode_index=index,
        trials=np.tile(blocks, (num_episodes, 1)),
    )


def gradient_fn(
    recipe: Recipe,
    pair_fn: dynamic.PairFn,
    policy_fn: Callable[[Params, dynamic.Observation], Array],
    *,
    episode_fn: Callable[[Any, Any], Any] = lambda frozen, episode: episode,
    each: Callable = jax.vmap,
    axis_name: str | None = parallel.AXIS,
) -> Callable[[Params, Any, Units, PRNGKey], tuple[Params, Metrics]]:
    """Return the per-device function: rollouts, objective, gradient, one mean.

    Args:
      pair_fn: where pairs come from.
      policy_fn: variables, observation -> logits [2].
      episode_fn: frozen variables, what a unit carries -> episode.
      each: `jax.vmap` runs the units of a device together, `jax.lax.map`-like one
        after another.
      axis_name: of the devices; None on one device without pmap.

    Returns:
      params, frozen, units, rng -> gradient of minus the objective, metrics. Both are
      averaged over the devices.
    """
    scheduler = dynamic.sampled(policy_fn)

    def roll(params, frozen, unit, rng):
        episode = episode_fn(frozen, unit.episode)
        rngs = dynamic.trial_rngs(
            jax.random.fold_in(rng, unit.episode_index), unit.trials
        )
        rollout_params = dynamic.RolloutParams(
            frozen, (params, jnp.float32(recipe.action_cap)), jnp.float32(recipe.eta)
        )
        trajectory = dynamic.rollout_trials(
            pair_fn, scheduler, rollout_params, rngs, episode, rules=recipe.rules
        )
        return episode, trajectory

    def gradient(params, frozen, units, rng):
        episodes, trajectories = each(lambda unit: roll(params, frozen, unit, rng))(
            units
        )
        advantages, returns = _advantages(recipe, trajectories, axis_name)

        def loss_fn(params):
            def unit_logits(episode_and_trajectory):
                return trajectory_logits(
                    pair_fn, policy_fn, params, frozen, *episode_and_trajectory, recipe
                )

            value, metrics = objective.policy_objective(
                each(unit_logits)((episodes, trajectories)),
                trajectories.action,
                advantages,
                trajectories.valid,
                entropy_cost=recipe.entropy_cost,
            )
            return -value, metrics

        (loss, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        metrics |= {"loss": loss, **_describe(trajectories, returns)}
        if axis_name is None:
            return grads, metrics
        return parallel.mean_over_devices((grads, metrics), axis_name)

    return gradient


def trajectory_logits(
    pair_fn: dynamic.PairFn,
    policy_fn: Callable[[Params, dynamic.Observation], Array],
    params: Params,
    frozen: Any,
    episode: Any,
    trajectory: dynamic.Trajectory,
    recipe: Recipe,
) -> Array:
    """Evaluate the policy again on the decisions of trials [k, S], with a gradient.

    Observations are recomputed, a few decisions at a time, in the forward and in the
    backward pass, so that memory does not grow with the length of the episode.

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
    logits = _chunked(
        jax.checkpoint(jax.vmap(jax.vmap(one))), by_decision, recipe.chunk
    )
    return jnp.swapaxes(logits, 0, 1)


def _chunked(fn, rows, size):
    """Apply fn to equal chunks of the leading axis, one after another."""
    count = len(jax.tree.leaves(rows)[0])
    chunks = -(-count // size)

    def pad(x):
        # The last row again: its logits are cut off below.
        tail = jnp.repeat(x[-1:], chunks * size - count, axis=0)
        return jnp.concatenate([x, tail]).reshape(chunks, size, *x.shape[1:])

    out = jax.lax.map(fn, jax.tree.map(pad, rows))
    return out.reshape(chunks * size, *out.shape[2:])[:count]


def _advantages(recipe, trajectories, axis_name):
    """Return advantages [U, k, S] and the return of every trial [U, k]."""
    kinds = {
        "reward_to_go": objective.discounted_returns,
        "whole": objective.whole_returns,
    }
    returns = kinds[recipe.returns](
        trajectories.reward, trajectories.valid, recipe.discount
    )
    totals = trajectories.reward.sum(-1)
    if recipe.baseline == "none":
        return returns, totals
    if recipe.split_trials == 1 or axis_name is None:
        return returns - objective.leave_one_out(returns), totals
    # One unit a device: gather the parts of every episode, take mine.
    parts = jax.lax.all_gather(returns[0], axis_name)
    episodes = parts.reshape(-1, recipe.split_trials * parts.shape[1], parts.shape[2])
    mine = episodes[jax.lax.axis_index(axis_name) // recipe.split_trials]
    return returns - objective.leave_one_out(returns, mine[None]), totals


def _describe(trajectories, totals):
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
    seed: int,
    num_devices: int,
    how: str,
) -> Trainer:
    """Return the trainer of a policy.

    Args:
      gradient: of `gradient_fn`.
      frozen: variables of N and F, or a pool of pair tables.
      batch_fn: step -> units, a function of (seed, step) alone.
    """
    spread = parallel.data_parallel(
        gradient, (None, None, 0, None), num_devices=num_devices, how=how
    )
    frozen = parallel.place(frozen, num_devices)
    last = f"FC{len(settings['policy']['hidden'])}"
    rng = jax.random.key(seed)

    def init_fn():
        state = train_state.create(build.init(settings, "policy", seed), tx)
        return parallel.place(state, num_devices)

    @functools.partial(jax.jit, donate_argnums=0)
    def apply(state, grads):
        state = train_state.apply_gradients(state, grads, tx)
        kernel = state.params["params"][last]["kernel"]
        expert = kernel[-2:, 1] - kernel[-2:, 0]
        metrics = {
            "grad_norm": optax.global_norm(grads),
            "kar_weight": expert[0],
            "lkd_weight": expert[1],
        }
        return state, metrics

    def update_fn(state, units, step):
        grads, metrics = spread(
            state.params, frozen, units, jax.random.fold_in(rng, step)
        )
        state, more = apply(state, grads)
        return state, metrics | more

    return Trainer(init_fn, batch_fn, update_fn)
