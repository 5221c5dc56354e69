import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.errors import UserError
from jaxseg.learning import optimizers


def test_rmsprop_starts_as_tensorflow_does():
    tx = optimizers.optimizer(optimizers.OptimizerOptions())
    gradients = jnp.array([0.1, -2.0])
    updates, _ = tx.update(gradients, tx.init(gradients))
    mean_square = 0.9 * 1.0 + 0.1 * np.asarray(gradients) ** 2
    expected = -1e-3 * np.asarray(gradients) / np.sqrt(mean_square + 1e-10)
    np.testing.assert_allclose(updates, expected, rtol=1e-6)


def test_initial_scale_is_that_of_the_first_accumulator():
    options = optimizers.OptimizerOptions(initial_scale=0.0)
    tx = optimizers.optimizer(options)
    gradients = jnp.array([0.1, -2.0])
    updates, _ = tx.update(gradients, tx.init(gradients))
    np.testing.assert_allclose(updates, [-1e-3 / 0.1**0.5, 1e-3 / 0.1**0.5], rtol=1e-5)


def test_poly_schedule_reaches_zero():
    options = optimizers.OptimizerOptions(
        name="sgd", learning_rate=0.5, schedule="poly", steps=4, momentum=0.0
    )
    tx = optimizers.optimizer(options)
    params, rates = jnp.ones(2), []
    state = tx.init(params)
    for _ in range(5):
        updates, state = tx.update(jnp.ones(2), state, params)
        rates.append(float(-updates[0]))
    expected = [0.5 * (1 - s / 4) ** 0.9 for s in range(5)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-8)


def test_slow_start_comes_before_the_schedule():
    options = optimizers.OptimizerOptions(
        name="sgd",
        learning_rate=0.5,
        schedule="poly",
        steps=6,
        slow_start_steps=2,
        slow_start_rate=0.1,
        momentum=0.0,
    )
    tx = optimizers.optimizer(options)
    params, rates = jnp.ones(2), []
    state = tx.init(params)
    for _ in range(6):
        updates, state = tx.update(jnp.ones(2), state, params)
        rates.append(float(-updates[0]))
    expected = [0.1, 0.1] + [0.5 * (1 - s / 4) ** 0.9 for s in range(4)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


def test_multipliers_of_biases_and_of_the_classifier():
    options = optimizers.OptimizerOptions(
        name="sgd",
        learning_rate=1.0,
        momentum=0.0,
        weight_decay=0.5,
        bias_multiplier=2.0,
        head_multiplier=10.0,
        head=("logits",),
    )
    tx = optimizers.optimizer(options)
    layer = {"kernel": jnp.ones((1, 1)), "bias": jnp.ones(1)}
    norm = {"bn_a": {"bias": jnp.ones(1), "scale": jnp.ones(1)}}
    params = {"body": layer | norm, "logits": {"semantic": layer}}
    ones = optax.tree.ones_like(params)
    updates, _ = tx.update(ones, tx.init(params), params)
    # A kernel also feels its decay, 0.5; the offset of a batch norm is no bias.
    expected = {
        "body": {"kernel": -1.5, "bias": -2.0, "bn_a": {"bias": -1.0, "scale": -1.0}},
        "logits": {"semantic": {"kernel": -15.0, "bias": -20.0}},
    }
    assert jax.tree.map(lambda x: x.item(), updates) == expected


def test_weight_decay_leaves_biases_and_depthwise_kernels_alone():
    options = optimizers.OptimizerOptions(
        name="sgd", learning_rate=1.0, momentum=0.0, weight_decay=0.1
    )
    tx = optimizers.optimizer(options)
    depthwise = {"kernel": jnp.ones((3, 3, 1, 4))}
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "depthwise": depthwise}
    zero = optax.tree.zeros_like(params)
    updates, _ = tx.update(zero, tx.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.1)
    np.testing.assert_allclose(updates["bias"], 0.0)
    np.testing.assert_allclose(updates["depthwise"]["kernel"], 0.0)


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="'adamm'.*rmsprop"):
        optimizers.optimizer(optimizers.OptimizerOptions(name="adamm"))
    with pytest.raises(UserError, match="'linear'.*poly"):
        optimizers.optimizer(optimizers.OptimizerOptions(schedule="linear"))
