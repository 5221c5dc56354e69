"""Decision history: key ratio (KAR), key distance (LKD) and the budget."""

import jax.numpy as jnp

from jaxseg.dynamic.types import Rules, State
from jaxseg.types import Array

RATIO_SLACK = 1e-6  # 9 keys of 90 do not exceed a budget of 0.1 by rounding


def empty(rules: Rules) -> tuple[Array, Array]:
    """Return the history before the first decision and the number of real entries.

    Missing entries read as non-key. Returns ([window] bool, [] int32).
    """
    history = jnp.zeros((rules.window,), bool)
    if rules.count_first_frame:
        return history.at[-1].set(True), jnp.int32(1)
    return history, jnp.int32(0)


def push(history: Array, action: Array) -> Array:
    """Append a decision to a history ([window] bool), dropping the oldest."""
    return jnp.concatenate([history[1:], action[None]])


def key_ratio(rules: Rules, history: Array, decisions: Array) -> Array:
    """Return the key ratio (KAR, section 3.2) of the last `window` decisions.

    "window": keys / window, a short history padded with non-keys; "elapsed": keys
    / decisions so far; "non_key": keys / non-keys of the padded window.
    """
    keys = history.sum().astype(jnp.float32)
    if rules.key_ratio == "window":
        return keys / rules.window
    if rules.key_ratio == "elapsed":
        return keys / jnp.clip(decisions, 1, rules.window)
    if rules.key_ratio == "non_key":
        return keys / jnp.maximum(rules.window - keys, 1.0)
    raise ValueError(
        f"key_ratio is {rules.key_ratio!r}; expected 'window', 'elapsed' or 'non_key'"
    )


def scaled_distance(rules: Rules, distance: Array) -> Array:
    """Return the key distance (LKD, i - k in frames) as the policy is fed it."""
    distance = distance.astype(jnp.float32)
    if rules.key_distance == "frames":
        return distance
    if rules.key_distance == "window":
        return distance / rules.window
    if rules.key_distance == "clipped":
        return jnp.minimum(distance / rules.window, 1.0)
    raise ValueError(
        f"key_distance is {rules.key_distance!r}; expected 'window', 'frames' or "
        "'clipped'"
    )


def expert(rules: Rules, state: State) -> Array:
    """Return E_i = (key ratio, scaled key distance) of a state, [2]."""
    return jnp.stack(
        [
            key_ratio(rules, state.history, state.decisions),
            scaled_distance(rules, state.frame - state.key_frame),
        ]
    )


def exceeds(ratio: Array, budget: Array) -> Array:
    """Say whether a key ratio is above the budget eta."""
    return ratio > budget + RATIO_SLACK
