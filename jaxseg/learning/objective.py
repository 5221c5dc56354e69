"""The objective of the policy: REINFORCE with entropy (section 3.2, Eq. 3).

Arrays are [..., K, S]: K trials of an episode, S decisions each; leading axes are
episodes. Rows after a trial's stop have `valid` False and count nothing.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.types import Array, Metrics

SCALES = ("sum", "mean")  # over the live steps of a trial
LOG_PROBABILITIES = ("policy", "capped")


class Terms(NamedTuple):
    """How the terms of the objective are weighed (static)."""

    entropy_cost: float = 0.14  # lambda_1 of Eq. 3
    return_scale: str = "sum"
    entropy_scale: str = "mean"
    # Whose probabilities are in the surrogate: "capped" ones are clipped as sampling
    # clips them.
    log_probability: str = "policy"


DEFAULT_TERMS = Terms()


def discounted_returns(rewards: Array, valid: Array, discount: float) -> Array:
    """Return the reward-to-go of every decision, sum over v >= u of gamma^(v-u) r_v.

    Args:
      rewards: [..., S].
      valid: [..., S] bool.
      discount: gamma; the paper uses 1.

    Returns:
      [..., S], 0 where not valid.
    """
    rewards = jnp.where(valid, rewards, 0.0)
    if discount == 1.0:
        returns = jnp.flip(jnp.cumsum(jnp.flip(rewards, -1), -1), -1)
    else:

        def back(later, reward):
            total = reward + discount * later
            return total, total

        steps = jnp.moveaxis(rewards, -1, 0)
        start = jnp.zeros(rewards.shape[:-1])
        _, returns = jax.lax.scan(back, start, steps, reverse=True)
        returns = jnp.moveaxis(returns, 0, -1)
    return jnp.where(valid, returns, 0.0)


def whole_returns(rewards: Array, valid: Array, discount: float) -> Array:
    """Return J of the trial at every step, the paper's objective as written."""
    total = discounted_returns(rewards, valid, discount)[..., :1]
    return jnp.broadcast_to(total, rewards.shape)


def trial_mean(returns: Array, all_returns: Array | None = None) -> Array:
    """Return the mean return of all trials at the same step, as `leave_one_out`."""
    everyone = returns if all_returns is None else all_returns
    return jnp.broadcast_to(everyone.mean(axis=-2, keepdims=True), returns.shape)


def leave_one_out(returns: Array, all_returns: Array | None = None) -> Array:
    """Return the mean return of the other trials at the same step.

    A finished trial counts with what its returns say after the stop: nothing is left to
    earn of a reward-to-go, and J stays what it is.

    Args:
      returns: [..., K, S].
      all_returns: [..., K', S] of all trials of the episodes where `returns` are
        some of them (trials split over devices).
    """
    everyone = returns if all_returns is None else all_returns
    trials = everyone.shape[-2]
    if trials == 1:
        return jnp.zeros_like(returns)
    total = everyone.sum(axis=-2, keepdims=True)
    return (total - returns) / (trials - 1)


def policy_objective(
    logits: Array,
    actions: Array,
    advantages: Array,
    valid: Array,
    terms: Terms = DEFAULT_TERMS,
    action_cap: float | Array = 1.0,
) -> tuple[Array, Metrics]:
    """Return what gradient ascent maximises: the surrogate of J plus the entropy.

    Its gradient is the policy gradient of J, summed over steps and averaged over
    trials and episodes, plus lambda_1 times the gradient of the entropy, averaged
    over the live steps of a trial, then over trials and episodes; `terms` has the
    other readings. Every mean is over trials, so that means over devices with equally
    many trials are exact.

    Args:
      logits: [..., K, S, 2] of the uncapped policy (non-key, key).
      actions: [..., K, S] bool.
      advantages: [..., K, S] returns less any baseline; no gradient flows into them.
      valid: [..., K, S] bool.
      action_cap: what sampling clips probabilities to, 1 - cap .. cap.

    Returns:
      The objective [] and {"entropy": mean over live steps}.
    """
    log_probabilities = jax.nn.log_softmax(logits)
    entropies = -(jnp.exp(log_probabilities) * log_probabilities).sum(-1)
    chosen = jnp.where(actions, log_probabilities[..., 1], log_probabilities[..., 0])
    if terms.log_probability == "capped":
        chosen = jnp.clip(chosen, jnp.log1p(-action_cap), jnp.log(action_cap))
    weights = jax.lax.stop_gradient(jnp.where(valid, advantages, 0.0))
    live = jnp.maximum(valid.sum(-1), 1)

    def over_steps(values, scale):
        total = values.sum(-1)
        return (total if scale == "sum" else total / live).mean()

    entropies = jnp.where(valid, entropies, 0.0)
    surrogate = over_steps(weights * chosen, terms.return_scale)
    bonus = over_steps(entropies, terms.entropy_scale)
    entropy = over_steps(entropies, "mean")
    return surrogate + terms.entropy_cost * bonus, {"entropy": entropy}


RETURNS = {"reward_to_go": discounted_returns, "whole": whole_returns}
BASELINES = {"none": None, "trial_mean": trial_mean, "leave_one_out": leave_one_out}
