"""Schedulers: who decides which frames are key. A new one is one function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxseg.dynamic.types import Decision, Observation, Scheduler
from jaxseg.types import Array, Params, PRNGKey

# variables, observation -> logits [2] (non-key, key)
PolicyFn = Callable[[Any, Observation], Array]


def memoryless(
    decide_fn: Callable[[Params, PRNGKey, Observation], Array | Decision],
) -> Scheduler:
    """Make a scheduler of a function that needs no memory.

    Args:
      decide_fn: params, rng, observation -> [] bool (True = key) or a `Decision`.
    """

    def decide(params, rng, observation, memory):
        result = decide_fn(params, rng, observation)
        if not isinstance(result, Decision):
            result = Decision(result, jnp.asarray(result, jnp.float32))
        return result, memory

    return Scheduler(start=lambda params: None, decide=decide)


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

    def decide(params, rng, obs):
        variables, threshold = params
        probability = jax.nn.softmax(policy_fn(variables, obs))[1]
        return Decision(probability > threshold, probability)

    return memoryless(decide)


def sampled(policy_fn: PolicyFn) -> Scheduler:
    """Sample from the policy, no action more likely than a cap (section 3.2, epsilon).

    params: (variables of the policy, cap []). A cap of 1 samples the policy itself.
    The probability reported is the uncapped one.
    """

    def decide(params, rng, obs):
        variables, cap = params
        probability = jax.nn.softmax(policy_fn(variables, obs))[1]
        capped = jnp.clip(probability, 1.0 - cap, cap)
        return Decision(jax.random.uniform(rng) < capped, probability)

    return memoryless(decide)
