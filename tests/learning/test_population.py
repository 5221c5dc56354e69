"""Policies that train together against each of them alone, on tables drawn here."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import build, dynamic
from jaxseg.errors import UserError
from jaxseg.learning import (
    loop,
    optimizers,
    policy,
    population,
    recipe,
    shared,
    units,
)
from jaxseg.runtime import config as configs

STEPS, EPISODES, TRIALS = 3, 2, 4
ONE_SIZE = dynamic.Sharing(buckets=(48,))  # to compile less
COMPARED = (1, 2)  # of the four policies; they differ in eta and in seed


@functools.cache
def resolved():
    """The smoke preset with a policy that takes both actions often."""
    changes = ("key_bias=-1.0", "action_scale=1.0", "pool=4")
    overrides = [f"--config.policy.{change}" for change in changes]
    found = configs.load_config("configs/population.py:smoke", overrides)
    return configs.to_dict(found)


@functools.cache
def networks():
    found = configs.to_dict(configs.load_config("configs/flow.py:smoke"))
    return {"segmenter": {}, "flow": found["flow"] | {"num_classes": 5}}


@functools.cache
def pool():
    draw = np.random.default_rng(0)
    clips, length = 4, resolved()["policy"]["episode_length"]
    pairs = (clips, length * (length - 1) // 2)
    shape = (*pairs, *build.deviation_shape(networks()))
    return dynamic.PairTable(
        draw.normal(size=shape).astype(np.float16),
        draw.uniform(0.2, 0.6, pairs).astype(np.float32),
        draw.uniform(0.5, 0.9, (clips, length)).astype(np.float32),
    )


def batch(split, step):
    clips = np.random.default_rng((7, step)).choice(4, EPISODES).astype(np.int32)
    drawn = dynamic.PooledEpisode(clips, pool().key_scores[clips])
    return units.make_units(drawn, EPISODES, TRIALS, split)


def settings(member):
    return networks() | {"policy": member["policy"]}


def recipes(members, num_devices=1):
    return [recipe.recipe(settings(member), num_devices) for member in members]


def trained(members, num_devices=1, how="pmap", steps=STEPS):
    """Train members together, or one alone by the plain rollout: states, metrics."""
    hows = recipes(members, num_devices)
    alone, seeds = len(members) == 1, [member["seed"] for member in members]
    together = functools.partial(shared.population_gradient_fn, how=ONE_SIZE)
    make = policy.gradient_fn if alone else together
    points = shared.points(hows)
    trainer = policy.trainer(
        settings(members[0]),
        make(hows[0], dynamic.pooled_pair, build.policy_fn(settings(members[0]))),
        pool() if alone else (pool(), points),
        lambda step: batch(hows[0].split_trials, step),
        optimizers.of_group(members[0]["train"]),
        seed=seeds[0] if alone else seeds,
        num_devices=num_devices,
        how=how,
    )
    state, found = trainer.init_fn(), []
    states = [jax.device_get(state)]
    for step in range(1, steps + 1):
        state, values = trainer.update_fn(state, trainer.batch_fn(step), step)
        states.append(jax.device_get(state))
        found.append(jax.device_get(values))
    return states, found


@functools.cache
def together(num_devices=1, how="pmap"):
    return trained(all_members(), num_devices, how)


@functools.cache
def all_members():
    config = resolved()
    return [population.member(config, p) for p in population.points(config)]


def actions(params, members, step):
    """Decisions of policies [P, E, K, S], as they train together and as alone."""
    hows, given = recipes(members), batch(1, step)
    rngs = [jax.random.fold_in(jax.random.key(m["seed"]), step) for m in members]
    policy_fn, points = build.policy_fn(settings(members[0])), shared.points(hows)
    trial_rngs = lambda rng: jnp.stack(
        [
            dynamic.trial_rngs(jax.random.fold_in(rng, e), given.trials[e])
            for e in range(EPISODES)
        ]
    )
    shared_run = jax.jit(
        functools.partial(
            dynamic.rollout_population,
            dynamic.pooled_pair,
            dynamic.sampled(policy_fn),
            rules=hows[0].rules,
            how=ONE_SIZE,
        )
    )
    one = shared_run(
        dynamic.RolloutParams(pool(), (params, points.action_cap), points.budget),
        jnp.stack([trial_rngs(rng) for rng in rngs]),
        given.episode,
    )
    plain = []
    for index, (how, rng) in enumerate(zip(hows, rngs)):
        run = jax.jit(policy.rollouts_fn(how, dynamic.pooled_pair, policy_fn))
        own = population.pick(params, index)
        plain.append(run(own, pool(), given, rng)[1].action)
    return np.asarray(one.trials.action), np.stack(plain)


def assert_close(found, expected, rtol):
    """Compare every array relative to its norm."""
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        assert np.linalg.norm(other) > 0
        assert np.linalg.norm(one - other) <= rtol * np.linalg.norm(other)


def test_policies_begin_as_they_begin_alone_bit_for_bit():
    start = together()[0][0]
    for index, member in enumerate(all_members()):
        alone = build.init(settings(member), "policy", member["seed"])
        own = population.pick(start.params, index)
        jax.tree.map(np.testing.assert_array_equal, own, jax.device_get(alone))
    first, other = (population.pick(start.params, index) for index in (0, 1))
    assert not np.array_equal(*(jax.tree.leaves(tree)[1] for tree in (first, other)))


def test_policies_train_together_as_each_does_alone():
    states, metrics = together()
    for index in COMPARED:
        alone, values = trained([all_members()[index]])
        for step in range(STEPS):
            own = population.pick(metrics[step], index)
            for name in ("key_rate", "length", "stopped"):  # of the actions alone
                assert own[name] == values[step][name], (step, name)
            assert own["return"] == pytest.approx(values[step]["return"], rel=1e-5)
            assert own["grad_norm"] == pytest.approx(
                values[step]["grad_norm"], rel=1e-4
            )
        own = population.pick(states[-1], index)
        assert_close(own.params, alone[-1].params, 1e-5)
        jax.tree.map(
            lambda x, y: np.testing.assert_array_equal(x.shape, y.shape),
            own,
            alone[-1],
        )


def test_policies_decide_together_as_alone_action_for_action():
    members = [all_members()[index] for index in COMPARED]
    learned = population.pick(together()[0][-1].params, np.array(COMPARED))
    found, expected = actions(learned, members, STEPS + 1)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < found.size
    assert (found[0] != found[1]).any()


@pytest.mark.parametrize(("devices", "how"), [(2, "pmap"), (4, "shard_map")])
def test_parameters_do_not_depend_on_devices(devices, how):
    """An episode for each of two devices; half of its trials for each of four."""
    one, metrics = together()
    many, spread = together(devices, how)
    assert_close(many[-1].params, one[-1].params, 1e-6)
    for found, expected in zip(spread, metrics):
        np.testing.assert_allclose(found["key_rate"], expected["key_rate"], rtol=1e-6)


def test_metrics_are_named_by_point_and_the_loss_is_the_mean():
    values = {
        "loss": jnp.array([1.0, 3.0]),
        "return": jnp.array([5.0, 6.0]),
        "pairs": jnp.array([9.0, 9.0]),
    }
    trainer = loop.Trainer(None, None, lambda state, batch, step: (state, values))
    _, found = population.by_name(trainer, ["a", "b"]).update_fn(None, None, 1)
    assert {name: float(x) for name, x in found.items()} == {
        "loss": 2.0,
        "pairs": 9.0,
        "a/loss": 1.0,
        "a/return": 5.0,
        "b/loss": 3.0,
        "b/return": 6.0,
    }
    record = {"step": 4.0} | found
    assert population.own([record], "b") == [{"step": 4, "loss": 3, "return": 6}]


def test_a_point_with_a_cap_by_budget_has_its_own():
    config = resolved()
    group = config["policy"] | {"cap_by_budget": True}
    members = [
        population.member(config | {"policy": group}, point)
        for point in population.points(config)
    ]
    points = shared.points(recipes(members))
    np.testing.assert_allclose(points.budget, [0.2, 0.2, 0.4, 0.4])
    np.testing.assert_allclose(points.action_cap, [0.98, 0.98, 0.96, 0.96])


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({"etas": [], "seeds": [0]}, r"points.etas is \[\].*at least one"),
        ({"etas": [0.1], "seeds": []}, r"points.seeds is \[\]"),
        ({"etas": [0.1, 1.5], "seeds": [0]}, "etas has 1.5; expected key ratios above"),
        ({"etas": [0.0], "seeds": [0]}, "etas has 0.0"),
        ({"etas": ["0.1"], "seeds": [0]}, "etas has '0.1'"),
        ({"etas": [0.1, 0.2, 0.1], "seeds": [0]}, "etas has 0.1 2 times"),
        ({"etas": [0.1], "seeds": [1, 1]}, "seeds has 1 2 times"),
        ({"etas": [0.1], "seeds": [-1]}, "seeds has -1; expected whole numbers"),
        ({"etas": [0.1], "seeds": [0.5]}, "seeds has 0.5"),
        ({"etas": [0.1], "seeds": [True]}, "seeds has True"),
        ({"etas": 0.1, "seeds": [0]}, "etas is 0.1"),
        ({"eta": [0.1], "seeds": [0]}, "expected etas and seeds"),
        (None, "points is None"),
    ],
)
def test_unusable_points_are_refused_in_one_line(points, message):
    with pytest.raises(UserError, match=message) as error:
        population.points({"points": points})
    assert "\n" not in str(error.value)
