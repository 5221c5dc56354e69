import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg import dynamic
from jaxseg.errors import UserError
from jaxseg.learning import objective, policy, units
from jaxseg.learning import recipe as recipes
from jaxseg.runtime import parallel
from tests import fakes

LENGTH, TRIALS = 13, 8
SETTINGS = {
    "policy": {
        "eta": 0.3,
        "window": 8,
        "key_ratio": "window",
        "key_distance": "window",
        "count_first_frame": False,
        "pay_break": True,
        "action_cap": 0.95,
        "cap_by_budget": False,
        "discount": 1.0,
        "entropy_cost": 0.14,
        "log_probability": "policy",
        "return_scale": "sum",
        "entropy_scale": "mean",
        "score_classes": "present",
        "returns": "reward_to_go",
        "baseline": "leave_one_out",
        "pairs": "tables",
        "rollout": "shared",
        "kept_gib": 2.0,
        "episodes": 4,
        "clip_seed": None,
        "episode_length": LENGTH,
        "pool": 4,
        "trials": TRIALS,
    }
}


def recipe(num_devices=1, **changes):
    settings = {"policy": {**SETTINGS["policy"], **changes}}
    return recipes.recipe(settings, num_devices)


@functools.cache
def pool(clips):
    tables = [
        dynamic.build_table(
            fakes.PAIR,
            fakes.VARIABLES,
            fakes.episode(seed, LENGTH),
            dtype=np.float32,
        )
        for seed in range(clips)
    ]
    return jax.tree.map(lambda *x: jnp.stack(x), *tables)


def make_units(num_episodes, tables, split):
    clips = np.arange(num_episodes, dtype=np.int32)
    episodes = dynamic.PooledEpisode(clips, tables.key_scores[clips])
    return units.make_units(episodes, num_episodes, TRIALS, split)


def gradients(num_devices, episodes, how="pmap", **changes):
    chosen = recipe(num_devices, episodes=episodes, **changes)
    tables = pool(episodes)
    gradient = policy.gradient_fn(chosen, dynamic.pooled_pair, fakes.policy)
    spread = parallel.data_parallel(
        gradient, (None, None, 0, None), num_devices=num_devices, how=how
    )
    return spread(
        fakes.policy_variables(2),
        tables,
        make_units(episodes, tables, chosen.split_trials),
        jax.random.key(5),
    )


@pytest.mark.parametrize(
    ("episodes", "how", "baseline"),
    [
        (4, "pmap", "none"),
        (1, "pmap", "leave_one_out"),
        (2, "shard_map", "leave_one_out"),
    ],
)
def test_four_devices_equal_one(episodes, how, baseline):
    """Episodes over devices, and trials over devices where episodes are fewer."""
    one, metrics = gradients(1, episodes, baseline=baseline)
    four, spread_metrics = gradients(4, episodes, how, baseline=baseline)
    for name in one:
        np.testing.assert_allclose(four[name], one[name], rtol=1e-5, atol=1e-7)
    # Equal actions give equal rates and returns to the last bit of a mean.
    for name in ("key_rate", "length", "stopped", "return", "entropy", "loss"):
        np.testing.assert_allclose(spread_metrics[name], metrics[name], rtol=1e-5)


def test_parameters_after_updates_do_not_depend_on_devices():
    episodes = 4

    def train(num_devices):
        tx = optax.rmsprop(1e-2, decay=0.9, eps=1e-10, initial_scale=1.0)
        chosen = recipe(num_devices, episodes=episodes)
        tables = pool(episodes)
        spread = parallel.data_parallel(
            policy.gradient_fn(chosen, dynamic.pooled_pair, fakes.policy),
            (None, None, 0, None),
            num_devices=num_devices,
        )
        batch = make_units(episodes, tables, chosen.split_trials)
        params = fakes.policy_variables(2)
        state = tx.init(params)
        for step in range(3):
            grads, _ = spread(params, tables, batch, jax.random.key(step))
            updates, state = tx.update(jax.device_get(grads), state)
            params = optax.apply_updates(params, updates)
        return params

    one, four = train(1), train(4)
    for name in one:
        np.testing.assert_allclose(four[name], one[name], rtol=1e-6, atol=1e-9)


def actions(num_devices, episodes):
    chosen, tables = recipe(num_devices, episodes=episodes), pool(episodes)
    rollouts = policy.rollouts_fn(chosen, dynamic.pooled_pair, fakes.policy)

    def gathered(*arguments):
        _, trajectories = rollouts(*arguments)
        return jax.lax.all_gather(trajectories.action, parallel.AXIS, tiled=True)

    spread = parallel.data_parallel(
        gathered, (None, None, 0, None), num_devices=num_devices
    )
    batch = make_units(episodes, tables, chosen.split_trials)
    found = spread(fakes.policy_variables(2), tables, batch, jax.random.key(5))
    return np.asarray(found).reshape(episodes, TRIALS, -1)


@pytest.mark.parametrize("episodes", [4, 1])
def test_actions_are_equal_on_one_and_four_devices(episodes):
    one, four = actions(1, episodes), actions(4, episodes)
    np.testing.assert_array_equal(four, one)
    assert 0 < one.sum() < one.size
    assert (one != one[:1, :1]).any()  # trials have draws of their own


def test_gradient_is_that_of_the_objective_written_out():
    chosen, tables = recipe(episodes=2, baseline="leave_one_out"), pool(2)
    batch, params, rng = (
        make_units(2, tables, 1),
        fakes.policy_variables(3),
        jax.random.key(1),
    )
    found, _ = policy.gradient_fn(
        chosen, dynamic.pooled_pair, fakes.policy, axis_name=None
    )(params, tables, batch, rng)

    scheduler = dynamic.sampled(fakes.policy)
    trajectories = []
    for episode in range(2):
        rngs = dynamic.trial_rngs(jax.random.fold_in(rng, episode), jnp.arange(TRIALS))
        rollout_params = dynamic.RolloutParams(
            fakes.VARIABLES,
            (params, jnp.float32(chosen.action_cap)),
            jnp.float32(chosen.eta),
        )
        trajectories.append(
            dynamic.rollout_trials(
                fakes.PAIR,
                scheduler,
                rollout_params,
                rngs,
                fakes.episode(episode, LENGTH),
                rules=chosen.rules,
            )
        )

    def loss(params):
        value = 0.0
        for episode, t in enumerate(trajectories):
            frames = fakes.episode(episode, LENGTH)

            def one(key_frame, frame, expert, frames=frames):
                pair = fakes.PAIR(fakes.VARIABLES, frames, key_frame, frame)
                seen = dynamic.Observation(pair.deviation, expert, None, None)
                return fakes.policy(params, seen)

            logits = jax.vmap(jax.vmap(one))(t.key_frame, t.frame, t.expert)
            returns = objective.discounted_returns(t.reward, t.valid, 1.0)
            advantages = returns - objective.leave_one_out(returns)
            value += objective.policy_objective(logits, t.action, advantages, t.valid)[
                0
            ]
        return -value / 2

    expected = jax.grad(loss)(params)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-5, atol=1e-7)
        assert float(jnp.abs(expected[name]).max()) > 1e-4


@pytest.mark.parametrize("size", [1, 5, 12, 16])
def test_chunks_change_nothing(size):
    rows = (jnp.arange(12.0), jnp.arange(24.0).reshape(12, 2))
    fn = lambda row: row[0][:, None] * row[1]
    np.testing.assert_allclose(policy.chunked(fn, rows, size), fn(rows))


@pytest.mark.parametrize(
    ("changes", "devices", "message"),
    [
        ({"eta": 0.0}, 1, "eta is 0.0.*above 0 and at most 1"),
        ({"eta": 1.5}, 1, "eta is 1.5"),
        ({"window": 0}, 1, "window is 0; expected 1 or more"),
        ({"clip_seed": -1}, 1, "clip_seed is -1; expected 0 or more"),
        ({"pool": 0}, 1, "pool is 0; expected 1 or more"),
        ({"baseline": "mean"}, 1, "baseline is 'mean'.*leave_one_out"),
        ({"score_classes": "skin"}, 1, "score_classes is 'skin'.*foreground"),
        ({"episodes": 3}, 2, "3 episodes of 8 trials for 2 devices"),
        ({"episodes": 1, "trials": 6}, 4, "1 episodes of 6 trials for 4 devices"),
    ],
)
def test_unusable_values_are_refused_in_one_line(changes, devices, message):
    with pytest.raises(UserError, match=message) as error:
        recipe(devices, **changes)
    assert "\n" not in str(error.value)


def test_policy_learns_the_better_of_two_actions():
    """Where a key always gains and the budget is open, keys become likely."""
    chosen = recipe(eta=1.0, episodes=2, entropy_cost=0.0, baseline="none")
    tables = pool(2)
    tables = tables._replace(scores=0.0 * tables.scores)
    gradient = jax.jit(
        functools.partial(
            policy.gradient_fn(
                chosen, dynamic.pooled_pair, fakes.policy, axis_name=None
            )
        )
    )
    params, batch = fakes.policy_variables(0), make_units(2, tables, 1)
    rates = []
    for step in range(30):
        grads, metrics = gradient(params, tables, batch, jax.random.key(step))
        params = jax.tree.map(lambda p, g: p - 0.05 * g, params, grads)
        rates.append(float(metrics["key_rate"]))
    assert rates[-1] > 0.9 > rates[0]
