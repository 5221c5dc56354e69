"""The gradient on distinct pairs against the one that evaluates every decision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import dynamic
from jaxseg.learning import policy, shared, units
from jaxseg.runtime import parallel
from tests import fakes
from tests.dynamic.test_sharing import HALVES
from tests.learning.test_policy import LENGTH, TRIALS, make_units, pool, recipe

# Smaller than what there is, so that every batch and every store overflows.
SMALL = dynamic.Sharing(buckets=(7,), kept=60, score_batch=4, gradient_batch=6)
METRICS = ("key_rate", "length", "stopped", "return", "entropy", "loss")


def clips(count):
    made = [fakes.clip(seed, LENGTH) for seed in range(count)]
    return jax.tree.map(lambda *x: np.stack(x), *made)


def prepare(frozen, clip):
    return dynamic.prepare(fakes.FRAMEWORK, frozen, clip, score_fn=fakes.score)


def assert_same(found, expected, rtol=1e-5):
    for name in expected[0]:
        np.testing.assert_allclose(
            found[0][name], expected[0][name], rtol=rtol, atol=1e-6
        )
    for name in METRICS:
        np.testing.assert_allclose(found[1][name], expected[1][name], rtol=1e-5)


@pytest.mark.parametrize(
    ("kept", "halves", "baseline"),
    [(60, HALVES, "leave_one_out"), (None, HALVES, "none"), (5, fakes.policy, "none")],
    ids=["recomputed in part", "kept", "not in halves, no room"],
)
def test_sharing_pairs_changes_no_gradient(kept, halves, baseline):
    chosen = recipe(episodes=3, baseline=baseline)
    batch = units.make_units(clips(3), 3, TRIALS, 1)
    arguments = fakes.policy_variables(3), fakes.VARIABLES, batch, jax.random.key(1)
    fixed = {"episode_fn": prepare, "axis_name": None}
    sharing = SMALL._replace(kept=kept)
    plain = policy.gradient_fn(chosen, fakes.PAIR, fakes.policy, **fixed)
    ours = shared.gradient_fn(chosen, fakes.PAIR, halves, how=sharing, **fixed)
    expected, found = jax.jit(plain)(*arguments), jax.jit(ours)(*arguments)
    assert_same(found, expected)
    assert np.abs(expected[0]["kernel"]).max() > 1e-3


def test_tables_are_read_again_where_nothing_is_kept():
    chosen, tables = recipe(episodes=4), pool(4)
    arguments = (
        fakes.policy_variables(3),
        tables,
        make_units(4, tables, 1),
        jax.random.key(1),
    )
    plain = policy.gradient_fn(
        chosen, dynamic.pooled_pair, fakes.policy, axis_name=None
    )
    ours = shared.gradient_fn(
        chosen,
        dynamic.pooled_pair,
        HALVES,
        how=SMALL._replace(kept=0),
        axis_name=None,
    )
    expected, found = jax.jit(plain)(*arguments), jax.jit(ours)(*arguments)
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("episodes", "spread_by"), [(4, "pmap"), (2, "shard_map"), (1, "pmap")]
)
def test_four_devices_equal_one(episodes, spread_by):
    def run(num_devices):
        chosen, tables = recipe(num_devices, episodes=episodes), pool(episodes)
        gradient = shared.gradient_fn(
            chosen, dynamic.pooled_pair, HALVES, how=SMALL._replace(kept=0)
        )
        spread = parallel.data_parallel(
            gradient, (None, None, 0, None), num_devices=num_devices, how=spread_by
        )
        batch = make_units(episodes, tables, chosen.split_trials)
        return spread(fakes.policy_variables(2), tables, batch, jax.random.key(5))

    assert_same(run(4), run(1))


@pytest.mark.parametrize("log_probability", ["policy", "capped"])
def test_policies_together_have_the_gradients_they_have_alone(log_probability):
    policies = [fakes.policy_variables(seed) for seed in (4, 5, 6)]
    etas, caps = (0.2, 0.3, 0.6), (0.6, 0.7, 0.99)
    rngs = jax.random.split(jax.random.key(9), 3)
    batch = units.make_units(clips(2), 2, TRIALS, 1)
    fixed = {"episode_fn": prepare, "axis_name": None}
    gradient = shared.population_gradient_fn(
        recipe(episodes=2, log_probability=log_probability),
        fakes.PAIR,
        HALVES,
        how=SMALL,
        **fixed,
    )
    together, metrics = jax.jit(gradient)(
        jax.tree.map(lambda *x: jnp.stack(x), *policies),
        (fakes.VARIABLES, shared.Points(jnp.array(etas), jnp.array(caps))),
        batch,
        rngs,
    )
    for index, variables in enumerate(policies):
        chosen = recipe(
            episodes=2,
            eta=etas[index],
            action_cap=caps[index],
            log_probability=log_probability,
        )
        plain = policy.gradient_fn(chosen, fakes.PAIR, fakes.policy, **fixed)
        alone = jax.jit(plain)(variables, fakes.VARIABLES, batch, rngs[index])
        mine = [jax.tree.map(lambda x, i=index: x[i], t) for t in (together, metrics)]
        assert_same(mine, alone)


def test_a_learner_takes_the_gradient_and_the_policy_acts():
    chosen = recipe(episodes=2)
    batch = units.make_units(clips(2), 2, TRIALS, 1)
    arguments = fakes.policy_variables(3), fakes.VARIABLES, batch, jax.random.key(1)
    fixed = {"episode_fn": prepare, "axis_name": None}
    steep = lambda variables, seen: 2 * fakes.policy(variables, seen)
    plain, learned = (
        jax.jit(policy.gradient_fn(chosen, fakes.PAIR, fakes.policy, **fixed, **more))
        for more in ({}, {"learner": steep})
    )
    ours = jax.jit(
        shared.gradient_fn(
            chosen, fakes.PAIR, fakes.policy, learner=steep, how=SMALL, **fixed
        )
    )
    alone, expected, found = (fn(*arguments) for fn in (plain, learned, ours))
    assert_same(found, expected)
    for name in ("key_rate", "length", "return"):
        np.testing.assert_allclose(expected[1][name], alone[1][name], rtol=1e-6)
    assert np.abs(expected[0]["kernel"] - alone[0]["kernel"]).max() > 1e-3
