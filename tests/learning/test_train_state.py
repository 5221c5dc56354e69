"""Claims about the training state."""

import jax.numpy as jnp
import optax

from jaxseg.learning import train_state


def test_one_step_of_gradient_descent_by_hand():
    optimizer = optax.sgd(0.1)
    state = train_state.create({"w": jnp.asarray([1.0, 2.0])}, optimizer)
    assert int(state.step) == 0 and state.model_state == {}
    gradients = {"w": jnp.asarray([10.0, -10.0])}
    state = train_state.apply_gradients(state, gradients, optimizer, {"mean": 3})
    assert state.params["w"].tolist() == [0.0, 3.0]
    assert int(state.step) == 1 and state.model_state == {"mean": 3}
    state = train_state.apply_gradients(state, gradients, optimizer)
    assert state.model_state == {"mean": 3}
