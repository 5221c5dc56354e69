import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import dynamic
from tests import fakes

RULES = dynamic.Rules(window=8)


def plain_rollout(policy_variables, cap, rng, episode, budget, rules):
    """The environment written once more with Python lists and numbers."""
    x, targets = np.asarray(episode.views), np.asarray(episode.targets)
    key_scores = np.asarray(episode.key_scores)
    kernel, bias = (np.asarray(policy_variables[n]) for n in ("kernel", "bias"))
    history, k, rows = [False] * rules.window, 0, []
    for i in range(1, len(x)):
        ratio = sum(history) / rules.window
        if ratio > budget:
            break
        motion = 0.5 * (x[i] - x[k])
        inputs = np.array([motion, abs(motion), ratio, (i - k) / rules.window])
        logits = inputs @ kernel + bias
        probability = 1 / (1 + np.exp(logits[0] - logits[1]))
        draw = float(jax.random.uniform(jax.random.fold_in(rng, i)))
        action = draw < np.clip(probability, 1 - cap, cap)
        score = np.exp(-abs(x[k] + motion - targets[i]))
        reward = key_scores[i] - score if action else 0.0
        rows.append((i, k, action, reward, key_scores[i] if action else score))
        history = [*history[1:], action]
        k = i if action else k
    return rows


@pytest.mark.parametrize("budget", [0.25, np.inf])
@pytest.mark.parametrize("seed", range(4))
def test_rollout_equals_a_plain_loop(seed, budget):
    episode = fakes.episode(seed, 30)
    variables, rng = fakes.policy_variables(seed), jax.random.key(seed)
    scheduler = dynamic.sampled(fakes.policy)
    params = fakes.params((variables, jnp.float32(0.98)), budget)
    run = jax.jit(
        functools.partial(dynamic.rollout, fakes.PAIR, scheduler, rules=RULES)
    )
    trajectory = jax.device_get(run(params, rng, episode))
    rows = plain_rollout(variables, 0.98, rng, episode, budget, RULES)
    assert int(trajectory.valid.sum()) == len(rows)
    for row, (frame, key_frame, action, reward, score) in enumerate(rows):
        assert trajectory.frame[row] == frame
        assert trajectory.key_frame[row] == key_frame
        assert trajectory.action[row] == action
        assert trajectory.reward[row] == pytest.approx(reward, abs=1e-5)
        assert trajectory.score[row] == pytest.approx(score, abs=1e-5)
    assert not trajectory.action[len(rows) :].any()
    assert not trajectory.reward[len(rows) :].any()


def test_trials_are_the_single_rollouts():
    episode = fakes.episode(1, 25)
    scheduler = dynamic.sampled(fakes.policy)
    params = fakes.params((fakes.policy_variables(), jnp.float32(0.9)), 0.5)
    rngs = dynamic.trial_rngs(jax.random.key(3), jnp.arange(6))
    run = functools.partial(dynamic.rollout, fakes.PAIR, scheduler, rules=RULES)
    trials = dynamic.rollout_trials(
        fakes.PAIR, scheduler, params, rngs, episode, rules=RULES
    )
    for trial in range(6):
        alone = run(params, rngs[trial], episode)
        np.testing.assert_array_equal(trials.action[trial], alone.action)
        np.testing.assert_allclose(trials.reward[trial], alone.reward, atol=1e-6)
    assert len({tuple(row) for row in np.asarray(trials.action).tolist()}) > 1


def test_tables_give_the_rollout_of_the_networks():
    episode = fakes.episode(2, 30)
    table = dynamic.build_table(
        fakes.PAIR, fakes.VARIABLES, episode, batch_size=64, dtype=np.float32
    )
    pool = jax.tree.map(lambda x: np.stack([np.zeros_like(x), x]), table)
    pooled = dynamic.PooledEpisode(jnp.int32(1), jnp.asarray(table.key_scores))
    scheduler = dynamic.sampled(fakes.policy)
    params = fakes.params((fakes.policy_variables(), jnp.float32(0.98)), 0.5)
    rng = jax.random.key(7)
    live = dynamic.rollout(fakes.PAIR, scheduler, params, rng, episode, rules=RULES)
    tabled = dynamic.rollout(
        dynamic.tabled_pair,
        scheduler,
        params,
        rng,
        jax.tree.map(jnp.asarray, table),
        rules=RULES,
    )
    from_pool = dynamic.rollout(
        dynamic.pooled_pair,
        scheduler,
        params._replace(framework=jax.tree.map(jnp.asarray, pool)),
        rng,
        pooled,
        rules=RULES,
    )
    for other in (tabled, from_pool):
        np.testing.assert_array_equal(live.action, other.action)
        np.testing.assert_array_equal(live.key_frame, other.key_frame)
        np.testing.assert_allclose(live.reward, other.reward, atol=1e-6)


def test_fixed_interval_and_replay_place_the_same_keys():
    episode, rng = fakes.episode(0, 14), jax.random.key(0)
    run = functools.partial(dynamic.rollout, fakes.PAIR, rules=RULES)
    fixed = run(
        dynamic.fixed_interval(), fakes.params(jnp.int32(4)), rng=rng, episode=episode
    )
    np.testing.assert_array_equal(np.flatnonzero(fixed.action) + 1, [4, 8, 12])
    actions = jnp.zeros(14, bool).at[jnp.array([4, 8, 12])].set(True)
    replayed = run(dynamic.replay(), fakes.params(actions), rng=rng, episode=episode)
    np.testing.assert_array_equal(fixed.action, replayed.action)
    np.testing.assert_array_equal(fixed.score, replayed.score)


def test_random_rate_keys_at_its_rate():
    episode = fakes.episode(0, 400)
    trials = dynamic.rollout_trials(
        fakes.PAIR,
        dynamic.random_rate(),
        fakes.params(jnp.float32(0.1)),
        dynamic.trial_rngs(jax.random.key(0), jnp.arange(16)),
        episode,
    )
    assert abs(float(trials.action.mean()) - 0.1) < 0.012  # 3 standard errors


def test_cap_leaves_every_action_a_chance():
    certain = {"kernel": jnp.zeros((4, 2)), "bias": jnp.array([50.0, -50.0])}
    trials = dynamic.rollout_trials(
        fakes.PAIR,
        dynamic.sampled(fakes.policy),
        fakes.params((certain, jnp.float32(0.9))),
        dynamic.trial_rngs(jax.random.key(1), jnp.arange(16)),
        fakes.episode(0, 400),
    )
    assert abs(float(trials.action.mean()) - 0.1) < 0.012
    np.testing.assert_allclose(trials.key_probability, 0.0, atol=1e-12)


def test_memory_is_reset_by_a_key():
    def decide(limit, rng, observation, seen):
        seen = seen + observation.deviation[1]
        return dynamic.Decision(seen > limit, jnp.float32(0.0)), seen

    scheduler = dynamic.Scheduler(lambda limit: jnp.float32(0.0), decide)
    episode = fakes.episode(5, 40)
    trajectory = dynamic.rollout(
        fakes.PAIR, scheduler, fakes.params(1.0), jax.random.key(0), episode
    )
    x, seen, k, expected = np.asarray(episode.views), 0.0, 0, []
    for i in range(1, 40):
        seen += abs(0.5 * (x[i] - x[k]))
        expected.append(seen > 1.0)
        if seen > 1.0:
            seen, k = 0.0, i
    assert 1 < sum(expected) < 30
    np.testing.assert_array_equal(trajectory.action, expected)
