"""The state of a training run: everything that a checkpoint must hold."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxseg.types import Array, Params


class TrainState(NamedTuple):
    """What an update reads and returns; random keys are functions of seed and step."""

    step: Array  # [] int32, number of finished updates
    params: Params
    model_state: Any  # batch statistics, or an empty dict
    opt_state: optax.OptState


def create(
    params: Params, optimizer: optax.GradientTransformation, model_state: Any = None
) -> TrainState:
    """Return the state before the first update: copies, which updates overwrite."""
    params = jax.tree.map(jnp.array, params)
    model_state = jax.tree.map(jnp.array, {} if model_state is None else model_state)
    step = jnp.zeros((), jnp.int32)
    return TrainState(step, params, model_state, optimizer.init(params))


def apply_gradients(
    state: TrainState,
    gradients: Params,
    optimizer: optax.GradientTransformation,
    model_state: Any = None,
) -> TrainState:
    """Return the state after one update; keep the model state where none is given."""
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    return TrainState(
        state.step + 1,
        optax.apply_updates(state.params, updates),
        state.model_state if model_state is None else model_state,
        opt_state,
    )
