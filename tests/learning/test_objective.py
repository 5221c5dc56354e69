import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import dynamic
from jaxseg.learning import objective
from tests import fakes

RULES = dynamic.Rules(window=4)
BUDGET = 0.5  # two keys in a window of four; the third ends the trial
STEPS = 6


def test_reward_to_go_of_three_steps():
    rewards = jnp.array([[1.0, 2.0, 4.0]])
    valid = jnp.array([[True, True, False]])
    np.testing.assert_allclose(
        objective.discounted_returns(rewards, valid, 1.0), [[3.0, 2.0, 0.0]]
    )
    np.testing.assert_allclose(
        objective.discounted_returns(rewards, jnp.ones((1, 3), bool), 0.5),
        [[3.0, 4.0, 4.0]],
    )
    np.testing.assert_allclose(
        objective.whole_returns(rewards, valid, 1.0), [[3.0, 3.0, 3.0]]
    )


def test_leave_one_out_is_the_mean_of_the_others():
    returns = jnp.array([[1.0], [2.0], [6.0]])
    expected = [[4.0], [3.5], [1.5]]
    np.testing.assert_allclose(objective.leave_one_out(returns), expected)
    np.testing.assert_allclose(
        objective.leave_one_out(returns[:2], returns), expected[:2]
    )
    np.testing.assert_allclose(objective.leave_one_out(returns[:1]), [[0.0]])


def test_objective_counts_live_steps_only():
    logits = jnp.zeros((2, 3, 2))
    valid = jnp.array([[True, True, False], [True, False, False]])
    value, metrics = objective.policy_objective(
        logits,
        jnp.zeros((2, 3), bool),
        jnp.full((2, 3), 10.0),
        valid,
        objective.Terms(entropy_cost=0.5),
    )
    log2 = np.log(2.0)
    assert float(metrics["entropy"]) == pytest.approx(log2)
    assert float(value) == pytest.approx(-10 * log2 * (2 + 1) / 2 + 0.5 * log2)


def test_readings_of_the_scales_of_return_and_entropy():
    logits = jnp.zeros((2, 3, 2))
    valid = jnp.array([[True, True, False], [True, False, False]])
    actions, advantages = jnp.zeros((2, 3), bool), jnp.full((2, 3), 10.0)
    log2 = np.log(2.0)
    for return_scale, entropy_scale, expected in (
        ("mean", "mean", -10 * log2 + 0.5 * log2),
        ("sum", "sum", -15 * log2 + 0.5 * 1.5 * log2),
    ):
        value, metrics = objective.policy_objective(
            logits,
            actions,
            advantages,
            valid,
            objective.Terms(0.5, return_scale, entropy_scale),
        )
        assert float(value) == pytest.approx(expected)
        # What is logged does not change its meaning.
        assert float(metrics["entropy"]) == pytest.approx(log2)


def test_capped_log_probability_is_that_of_the_sampling():
    """Beyond the cap both actions are as likely as sampling makes them, and fixed."""
    terms = objective.Terms(entropy_cost=0.0, log_probability="capped")

    def value(logit, action):
        logits = jnp.array([[[0.0, 0.0]]]).at[0, 0, 1].set(logit)
        return objective.policy_objective(
            logits,
            jnp.array([[action]]),
            jnp.ones((1, 1)),
            jnp.ones((1, 1), bool),
            terms,
            0.9,
        )[0]

    for logit, action, expected in (
        (5.0, True, np.log(0.9)),
        (5.0, False, np.log(0.1)),
        (1.0, True, -np.log1p(np.exp(-1.0))),
    ):
        assert float(value(logit, action)) == pytest.approx(expected, rel=1e-5)
        slope = float(jax.grad(value)(logit, action))
        assert (slope == 0.0) == (logit == 5.0)


def test_trial_mean_counts_the_trial_itself():
    returns = jnp.array([[1.0, 0.0], [2.0, 0.0], [6.0, 3.0]])
    expected = [[3.0, 1.0]] * 3
    np.testing.assert_allclose(objective.trial_mean(returns), expected)
    np.testing.assert_allclose(objective.trial_mean(returns[:1], returns), expected[:1])


@functools.cache
def every_trajectory():
    """Return all action sequences of the episode and where they lead."""
    episode = fakes.episode(9, STEPS + 1)
    sequences = jnp.asarray(list(itertools.product([False, True], repeat=STEPS)))

    def replayed(actions):
        schedule = jnp.concatenate([jnp.zeros(1, bool), actions])
        return dynamic.rollout(
            fakes.PAIR,
            dynamic.replay(),
            fakes.params(schedule, BUDGET),
            jax.random.key(0),
            episode,
            rules=RULES,
        )

    return sequences, jax.vmap(replayed)(sequences)


def trajectory_logits(variables, trajectory):
    episode = fakes.episode(9, STEPS + 1)

    def logits(key_frame, frame, expert):
        pair = fakes.PAIR(fakes.VARIABLES, episode, key_frame, frame)
        observation = dynamic.Observation(pair.deviation, expert, None, None)
        return fakes.policy(variables, observation)

    return jax.vmap(logits)(trajectory.key_frame, trajectory.frame, trajectory.expert)


def sequence_probabilities(variables):
    """Probability of each sequence; those alike up to the stop share its weight."""
    actions, trajectories = every_trajectory()
    logits = jax.vmap(lambda t: trajectory_logits(variables, t))(trajectories)
    log_p = jax.nn.log_softmax(logits)
    return jnp.exp(jnp.where(actions, log_p[..., 1], log_p[..., 0]).sum(-1))


def exact_return(variables):
    """Expected return by enumerating every action sequence of the episode."""
    _, trajectories = every_trajectory()
    return (sequence_probabilities(variables) * trajectories.reward.sum(-1)).sum()


@pytest.mark.parametrize(
    ("returns_fn", "baseline"),
    [
        (objective.discounted_returns, "none"),
        (objective.whole_returns, "none"),
        (objective.discounted_returns, "leave_one_out"),
    ],
)
def test_expected_estimator_is_the_exact_policy_gradient(returns_fn, baseline):
    """Average the estimator over all pairs of trials, weighted by their probability."""
    variables = fakes.policy_variables(1)
    exact = jax.grad(exact_return)(variables)
    actions, trajectories = every_trajectory()
    probability = sequence_probabilities(variables)
    assert float(probability.sum()) == pytest.approx(1.0, rel=1e-5)
    assert bool((~trajectories.valid).any())  # the stop rule takes part

    # K = 2: every sequence with every sequence, [pairs, trials, steps].
    chosen = jnp.asarray(list(itertools.product(range(len(actions)), repeat=2)))
    weights = probability[chosen].prod(-1)
    paired = jax.tree.map(lambda x: x[chosen], trajectories)
    advantages = returns_fn(paired.reward, paired.valid, 1.0)
    if baseline == "leave_one_out":
        advantages = advantages - objective.leave_one_out(advantages)

    def surrogate(variables):
        logits = jax.vmap(lambda t: trajectory_logits(variables, t))(trajectories)

        def one(logits, actions, advantages, valid):
            return objective.policy_objective(
                logits, actions, advantages, valid, objective.Terms(entropy_cost=0.0)
            )[0]

        values = jax.vmap(one)(
            logits[chosen], actions[chosen], advantages, paired.valid
        )
        return (weights * values).sum()

    estimate = jax.grad(surrogate)(variables)
    for name in exact:
        np.testing.assert_allclose(estimate[name], exact[name], rtol=2e-4, atol=1e-6)
        assert float(jnp.abs(exact[name]).max()) > 1e-3
