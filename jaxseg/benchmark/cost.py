"""What programs cost: FLOP, and memory, as the compiler counts them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import dynamic
from jaxseg.benchmark import scene
from jaxseg.ops import forms


def flop(fn: Callable, *arguments) -> float:
    """Return the FLOP of `fn(*arguments)` in its obvious form, as XLA counts them.

    Taps of convolutions that fall into padding do not count, elementwise work does. A
    loop's body counts once: ask of what is inside.

    Args:
      arguments: arrays, or their shapes and types.
    """
    with forms.plain():
        lowered = jax.jit(lambda *x: fn(*x)).lower(*arguments)
    return float(lowered.cost_analysis()["flops"])


def temporary_mb(program: Any) -> float:
    """Return the megabytes that a compiled program needs beside arguments and results.

    NaN where the platform does not say.
    """
    analysis = program.memory_analysis()
    return np.nan if analysis is None else analysis.temp_size_in_bytes / 1e6


def memory(program: Any) -> dict[str, float]:
    """Return a compiled program's temporary memory and the peak of the device.

    `device_peak_mb` is the most that this process has held on the device so far; a CPU
    does not say.
    """
    found = {"temporary_mb": temporary_mb(program)}
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        found["device_peak_mb"] = stats["peak_bytes_in_use"] / 1e6
    return found


def rollout_flop(given: scene.Scene, found: dynamic.SharedTrajectory) -> float:
    """Return the least FLOP of a rollout whose trials share their pairs.

    F's encoder for each distinct pair, a policy's trunk for each that it meets itself;
    all of F, the warp and the score for each pair at which some trial takes a key.

    Args:
      found: of one policy, [E, K, S], or of several, [P, E, K, S].
    """
    several = found.pair.ndim == 4
    rows = (np.asarray(x) for x in (found.pair, found.trials.valid))
    each = zip(*rows) if several else [tuple(rows)]
    looks = sum(len(np.unique(pair[valid])) for pair, valid in each)
    paid = len(key_pairs(found)) * flop(given.pair_fn, *_pair(given))
    encoded = int(found.distinct.count) * encoder_flop(given)
    return encoded + looks * trunk_flop(given) + paid


def encoder_flop(given: scene.Scene) -> float:
    """Return the FLOP of F up to the deviation, for one pair."""
    return flop(lambda *x: given.pair_fn(*x).deviation, *_pair(given))


def _pair(given):
    episode = jax.tree.map(lambda x: x[0], given.episodes)
    return given.variables, episode, jnp.int32(0), jnp.int32(0)


def trunk_flop(given: scene.Scene, *, gradient: bool = False) -> float:
    """Return the FLOP of the policy's layers that see a pair, for one pair.

    Args:
      gradient: forwards, and backwards to the weights, instead of forwards alone.
    """
    variables = jax.eval_shape(lambda: scene.policy_variables(given, scene.LATE))
    deviation = jax.ShapeDtypeStruct(given.deviation, jnp.float32)

    def back(variables, deviation):
        trunk = lambda variables: given.policy.trunk(variables, deviation)
        seen, pull = jax.vjp(trunk, variables)
        return pull(seen)

    return flop(back if gradient else given.policy.trunk, variables, deviation)


def key_pairs(found: dynamic.SharedTrajectory) -> np.ndarray:
    """Return which of the distinct pairs are those of a key action."""
    return np.unique(np.asarray(found.pair)[np.asarray(found.trials.action)])
