"""Rollouts that share pairs, compiled and on the host, against the plain one."""

import functools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import dynamic
from jaxseg.dynamic import batches
from tests import fakes

RULES = dynamic.Rules(window=8)
EPISODES, TRIALS, FRAMES = 3, 5, 20
SMALL = dynamic.Sharing(buckets=(2, 5, 9), kept=40, score_batch=4, gradient_batch=6)
# The same policy whole, and in halves of which the first is shared.
HALVES = dynamic.Policy(
    lambda variables, deviation: deviation @ variables["kernel"][:2],
    lambda variables, observation: (
        observation.deviation
        + observation.expert @ variables["kernel"][2:]
        + variables["bias"]
    ),
)


@functools.cache
def episodes():
    made = [fakes.episode(seed, FRAMES) for seed in range(EPISODES)]
    return jax.tree.map(lambda *x: jnp.stack(x), *made)


def rngs(seed):
    return jnp.stack(
        [
            dynamic.trial_rngs(
                jax.random.fold_in(jax.random.key(seed), e), jnp.arange(TRIALS)
            )
            for e in range(EPISODES)
        ]
    )


@functools.cache
def compiled(run, pair, scheduler, **how):
    return jax.jit(functools.partial(run, pair, scheduler, **how))


SAMPLED = dynamic.sampled(HALVES)
WHOLE = dynamic.sampled(fakes.policy)


def share(params, seed, scheduler=SAMPLED, pair=fakes.PAIR, given=None, **how):
    """All episodes together."""
    how = {"rules": RULES, "how": SMALL} | how
    run = compiled(dynamic.rollout_episodes, pair, scheduler, **how)
    return run(params, rngs(seed), episodes() if given is None else given)


@functools.cache
def _plain(scheduler, rules):
    run = functools.partial(dynamic.rollout_trials, fakes.PAIR, scheduler, rules=rules)
    return jax.jit(jax.vmap(run, (None, 0, 0)))


def plain(params, seed, rules=RULES, scheduler=WHOLE):
    """Every episode by itself, every trial with pairs of its own."""
    return _plain(scheduler, rules)(params, rngs(seed), episodes())


def assert_same(found, trials):
    """Compare what happened while trials were alive."""
    valid = np.asarray(trials.valid)
    np.testing.assert_array_equal(found.valid, valid)
    for name in ("frame", "key_frame", "action"):
        ours, expected = (getattr(x, name) for x in (found, trials))
        np.testing.assert_array_equal(
            np.asarray(ours)[valid], np.asarray(expected)[valid], name
        )
    for name in ("key_probability", "expert", "reward"):
        ours, expected = (getattr(x, name) for x in (found, trials))
        np.testing.assert_allclose(
            np.asarray(ours)[valid], np.asarray(expected)[valid], atol=1e-6
        )
    assert not np.asarray(found.reward)[~valid].any()
    assert not np.asarray(found.action)[~valid].any()
    keys = np.asarray(trials.action)
    np.testing.assert_allclose(
        np.asarray(found.score)[keys], np.asarray(trials.score)[keys], atol=1e-6
    )
    assert np.isnan(np.asarray(found.score)[~keys]).all()


@pytest.mark.parametrize(
    ("scheduler", "budget", "pay_break"),
    [
        (WHOLE, 0.25, True),
        (SAMPLED, 0.25, True),
        (SAMPLED, 0.4, False),
        (SAMPLED, np.inf, True),
    ],
    ids=["not in halves", "small budget", "last key unpaid", "no budget"],
)
def test_sharing_changes_no_decision(scheduler, budget, pay_break):
    params = fakes.params((fakes.policy_variables(4), jnp.float32(0.95)), budget)
    rules = RULES._replace(pay_break=pay_break)
    trials = plain(params, 2, rules)
    assert_same(share(params, 2, scheduler, rules=rules).trials, trials)
    for index in range(EPISODES):
        one = lambda x, index=index: x[index]
        found = dynamic.rollout_hosted(
            fakes.PAIR,
            scheduler,
            params,
            rngs(2)[index],
            jax.tree.map(one, episodes()),
            rules=rules,
            how=SMALL,
        )
        assert_same(found, jax.tree.map(one, trials))
    ended = ~np.asarray(trials.valid)[..., -1]
    assert ended.any() == (budget < 1)
    assert np.asarray(trials.reward).any()


def test_pairs_are_listed_once_in_order():
    params = fakes.params((fakes.policy_variables(4), jnp.float32(0.95)), 0.5)
    found = share(params, 1, how=SMALL._replace(kept=None, keep_seen=True))
    distinct, trials = found.distinct, found.trials
    count = int(distinct.count)
    triples = list(
        zip(*(np.asarray(x)[:count].tolist() for x in distinct[:3]), strict=True)
    )
    met = {
        (e, int(trials.key_frame[e, t, s]), int(trials.frame[e, t, s]))
        for e, t, s in zip(*np.nonzero(np.asarray(trials.valid)), strict=True)
    }
    assert set(triples) == met and len(triples) == len(met)
    assert [frame for _, _, frame in triples] == sorted(f for _, _, f in triples)
    for e, t, s in zip(*np.nonzero(np.asarray(trials.valid)), strict=True):
        assert triples[int(found.pair[e, t, s])] == (
            e,
            int(trials.key_frame[e, t, s]),
            int(trials.frame[e, t, s]),
        )
    views = np.asarray(episodes().views)
    motion = [0.5 * (views[e, i] - views[e, k]) for e, k, i in triples]
    expected = np.stack([motion, np.abs(motion)], 1)
    np.testing.assert_allclose(distinct.deviation[:count], expected, atol=1e-6)
    kernel = np.asarray(fakes.policy_variables(4)["kernel"])
    seen = found.seen
    np.testing.assert_array_equal(seen.pair[:count], np.arange(count))
    np.testing.assert_array_equal(found.place, found.pair)
    np.testing.assert_allclose(seen.value[:count], expected @ kernel[:2], atol=1e-6)
    # What finds no room is left out; what is kept is the same.
    without = share(params, 1)
    few = without.distinct
    stored = int(few.stored)
    assert without.seen is None and len(few.deviation) == 40 and 20 < stored < count
    np.testing.assert_array_equal(few.deviation[:stored], distinct.deviation[:stored])
    assert int(distinct.stored) == count
    assert share(params, 1, how=dynamic.Sharing()).distinct.deviation is None


def test_a_population_is_its_policies_one_by_one():
    policies = [fakes.policy_variables(seed) for seed in (4, 5, 6)]
    budgets, caps = jnp.array([0.25, 0.5, jnp.inf]), jnp.array([0.9, 0.95, 0.99])
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *policies)
    run = compiled(
        dynamic.rollout_population,
        fakes.PAIR,
        SAMPLED,
        rules=RULES,
        how=SMALL._replace(keep_seen=True, kept=None),
    )
    together = run(
        dynamic.RolloutParams(fakes.VARIABLES, (stacked, caps), budgets),
        jnp.stack([rngs(seed) for seed in (7, 8, 9)]),
        episodes(),
    )
    for index, policy in enumerate(policies):
        params = fakes.params((policy, caps[index]), budgets[index])
        mine = jax.tree.map(lambda x, i=index: x[i], together.trials)
        assert_same(mine, plain(params, 7 + index))
        _assert_saw_its_own(together, index, policy)
    # Shared between the policies too.
    alone = sum(
        int(share(fakes.params((p, caps[i]), budgets[i]), 7 + i).distinct.count)
        for i, p in enumerate(policies)
    )
    assert int(together.distinct.count) < alone


def _assert_saw_its_own(together, index, policy):
    """A policy has seen the pairs of its own trials, with its own weights."""
    valid = np.asarray(together.trials.valid[index])
    pair, place = (np.asarray(x[index])[valid] for x in (together.pair, together.place))
    own, value, count = (np.asarray(x[index]) for x in together.seen)
    np.testing.assert_array_equal(own[:count], np.unique(pair))
    np.testing.assert_array_equal(own[place], pair)
    assert count < int(together.distinct.count)
    deviation = np.asarray(together.distinct.deviation)[own[:count]]
    expected = deviation @ np.asarray(policy["kernel"])[:2]
    np.testing.assert_allclose(value[:count], expected, atol=1e-6)


def test_memory_is_kept_by_trials():
    def decide(limit, rng, observation, seen):
        seen = seen + observation.deviation[1]
        return dynamic.Decision(seen > limit, jnp.float32(0.0)), seen

    scheduler = dynamic.Scheduler(lambda limit: jnp.float32(0.0), decide)
    params = fakes.params(jnp.float32(0.7))
    shared = share(params, 0, scheduler)
    trials = plain(params, 0, scheduler=scheduler)
    assert_same(shared.trials, trials)
    assert 1 < np.asarray(trials.action)[0, 0].sum() < FRAMES - 2


def test_pools_of_tables_are_shared_as_well():
    tables = [
        dynamic.build_table(
            fakes.PAIR,
            fakes.VARIABLES,
            jax.tree.map(lambda x, e=e: x[e], episodes()),
            dtype=np.float32,
        )
        for e in range(EPISODES)
    ]
    pool = jax.tree.map(lambda *x: jnp.stack(x), *tables)
    params = fakes.params((fakes.policy_variables(4), jnp.float32(0.95)), 0.5)
    shared = share(
        params._replace(framework=pool),
        3,
        pair=dynamic.pooled_pair,
        given=dynamic.PooledEpisode(jnp.arange(EPISODES), pool.key_scores),
    )
    assert_same(shared.trials, plain(params, 3))


def test_one_compiled_size_for_each_bucket_and_no_select():
    """A batched switch would compute every size: there must be a conditional."""
    params = fakes.params((fakes.policy_variables(4), jnp.float32(0.95)), 0.5)
    run = functools.partial(
        dynamic.rollout_episodes,
        fakes.PAIR,
        dynamic.sampled(HALVES),
        rules=RULES,
        how=SMALL,
    )
    jaxpr = jax.make_jaxpr(run)(params, rngs(0), episodes())
    # Sizes of the batches of networks, and of those that the policy looks at.
    assert batches.look_sizes(EPISODES * TRIALS) == (2, 4, 8, 15)
    assert _branches(jaxpr.jaxpr) == [3, 4]


def _branches(jaxpr):
    """Return how many branches every conditional of a program has."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "cond":
            found.append(len(equation.params["branches"]))
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            found += _branches(inner)
    return found


def test_batches_waste_little():
    for limit in (1, 3, 32, 33, 256, 2048):
        sizes = batches.look_sizes(limit)
        assert sizes[-1] == limit and list(sizes) == sorted(set(sizes))
        waste = [min(s for s in sizes if s >= n) / n for n in range(1, limit + 1)]
        assert np.mean(waste) < 1.35 and max(waste) <= 2.0
    assert len(batches.look_sizes(2048)) < 20
    assert batches.network_sizes((), 7) == (1, 2, 3, 4, 5, 6, 7)
    assert batches.network_sizes(SMALL.buckets, 6) == (2, 5, 6)
    assert batches.network_sizes(SMALL.buckets, 100) == (2, 5, 9)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 7, 13])
def test_batches_are_evaluated_once_each(count):
    """Only the sizes that are asked for run, and every pair's result is its own."""
    slots = jnp.arange(100, 113)
    ran = []

    def evaluate(slots):
        jax.debug.callback(functools.partial(ran.append, len(slots)))
        return {"twice": 2 * slots, "row": slots[:, None] + jnp.arange(3)}

    found = jax.jit(
        lambda count: batches.in_batches(evaluate, slots, count, (1, 3, 5))
    )(count)
    jax.effects_barrier()
    np.testing.assert_array_equal(found["twice"][:count], 2 * slots[:count])
    np.testing.assert_array_equal(
        found["row"][:count], slots[:count, None] + np.arange(3)
    )
    assert found["twice"].shape == (13,) and found["row"].shape == (13, 3)
    expected = {0: [], 1: [1], 4: [5], 5: [5], 7: [5, 3], 13: [5, 5, 3]}
    assert ran == expected[count]
