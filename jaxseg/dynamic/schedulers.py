"""Schedulers: who decides which frames are key. A new one is one function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.dynamic.types import Decision, Observation, Scheduler
from jaxseg.types import Array, Params, PRNGKey

# variables, observation -> logits [2] (non-key, key); a `Policy` is one
PolicyFn = Callable[[Any, Observation], Array]


class Policy(NamedTuple):
    """A policy in two halves, of which the first depends on the pair (k, i) alone.

    Rollouts that share pairs share the first half. Called, it is the whole policy.
    """

    trunk: Callable[[Any, Any], Any]  # variables, D_{i->k} -> what the head reads
    # variables, observation whose deviation is what `trunk` returned -> logits [2]
    head: Callable[[Any, Observation], Array]

    def __call__(self, variables: Any, observation: Observation) -> Array:
        """Return logits [2] of an observation with the deviation itself."""
        seen = self.trunk(variables, observation.deviation)
        return self.head(variables, observation._replace(deviation=seen))


def halves(policy_fn: PolicyFn) -> Policy:
    """Return a policy in halves; the first does nothing where there are none."""
    if isinstance(policy_fn, Policy):
        return policy_fn
    return Policy(lambda variables, deviation: deviation, policy_fn)


def memoryless(
    decide_fn: Callable[[Params, PRNGKey, Observation], Array | Decision],
    look: Callable[[Params, Any], Any] = lambda params, deviation: deviation,
) -> Scheduler:
    """Make a scheduler of a function that needs no memory.

    Args:
      decide_fn: params, rng, observation -> [] bool (True = key) or a `Decision`.
      look: see `Scheduler`.
    """

    def decide(params, rng, observation, memory):
        result = decide_fn(params, rng, observation)
        if not isinstance(result, Decision):
            result = Decision(result, jnp.asarray(result, jnp.float32))
        return result, memory

    return Scheduler(start=lambda params: None, decide=decide, look=look)


def fixed_interval() -> Scheduler:
    """Key every `params` frames (DFF's scheduler); params: [] interval in frames."""
    return memoryless(lambda interval, rng, obs: obs.key_distance >= interval)


def random_rate() -> Scheduler:
    """Key with probability `params` at every frame; params: [] rate in 0..1."""

    def decide(rate, rng, obs):
        return Decision(jax.random.uniform(rng) < rate, jnp.asarray(rate, jnp.float32))

    return memoryless(decide)


def replay() -> Scheduler:
    """Repeat given decisions; params: [T] bool, read at the frame's number."""
    return memoryless(lambda actions, rng, obs: actions[obs.frame])


def thresholded(policy_fn: PolicyFn) -> Scheduler:
    """Key where the policy's key probability exceeds tau (section 3.1).

    params: (variables of the policy, tau []).
    """

    policy = halves(policy_fn)

    def decide(params, rng, obs):
        variables, threshold = params
        probability = jax.nn.softmax(policy.head(variables, obs))[1]
        return Decision(probability > threshold, probability)

    return memoryless(decide, _trunk(policy))


def sampled(policy_fn: PolicyFn) -> Scheduler:
    """Sample from the policy, no action more likely than a cap (section 3.2, epsilon).

    params: (variables of the policy, cap []). A cap of 1 samples the policy itself.
    The probability reported is the uncapped one.
    """

    policy = halves(policy_fn)

    def decide(params, rng, obs):
        variables, cap = params
        probability = jax.nn.softmax(policy.head(variables, obs))[1]
        capped = jnp.clip(probability, 1.0 - cap, cap)
        return Decision(jax.random.uniform(rng) < capped, probability)

    return memoryless(decide, _trunk(policy))


def _trunk(policy: Policy) -> Callable[[Params, Any], Any]:
    return lambda params, deviation: policy.trunk(params[0], deviation)
