import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.learning import losses


def test_cross_entropy_of_two_pixels_ignores_the_third():
    logits = jnp.array([[[0.0, 0.0], [0.0, np.log(3.0)], [9.0, -9.0]]])
    labels = jnp.array([[0, 1, 255]], jnp.uint8)
    expected = (np.log(2.0) + np.log(4.0 / 3.0)) / 2
    assert float(losses.cross_entropy(logits, labels)) == pytest.approx(expected)


def test_label_weights_multiply_the_terms_of_their_class():
    logits = jnp.array([[[0.0, 0.0], [0.0, np.log(3.0)]]])
    labels = jnp.array([[0, 1]], jnp.uint8)
    expected = (5 * np.log(2.0) + 2 * np.log(4.0 / 3.0)) / 2
    value = losses.cross_entropy(logits, labels, label_weights=(5.0, 2.0))
    assert float(value) == pytest.approx(expected)


def test_all_ignored_is_zero_with_a_finite_gradient():
    labels = jnp.full((2, 2), 255, jnp.uint8)
    value, gradient = jax.value_and_grad(losses.cross_entropy)(
        jnp.ones((2, 2, 3)), labels
    )
    assert float(value) == 0.0 and not gradient.any()


def test_posterior_cross_entropy_renormalises_and_floors():
    scores = jnp.array([[[0.2, 0.6], [-1.0, 0.5]]])
    labels = jnp.array([[1, 0]], jnp.uint8)
    expected = -(np.log(0.75) + np.log(0.01 / 0.51)) / 2
    value = losses.posterior_cross_entropy(scores, labels, floor=0.01)
    assert float(value) == pytest.approx(expected)
