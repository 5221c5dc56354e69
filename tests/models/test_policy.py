import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.models import parameters, policy


def _inputs(batch=3):
    rng = np.random.default_rng(0)
    deviation = jnp.asarray(rng.normal(size=(batch, 2, 3, 8)), jnp.float32)
    return deviation, jnp.linspace(0, 0.2, batch), jnp.linspace(0.1, 1, batch)


def test_full_size_network_has_the_published_size():
    shape = jax.ShapeDtypeStruct
    variables = jax.eval_shape(
        lambda *inputs: policy.PolicyNet().init(jax.random.key(0), *inputs),
        shape((1, 9, 9, 384), jnp.float32),
        shape((1,), jnp.float32),
        shape((1,), jnp.float32),
    )
    assert parameters.count_parameters(variables) == 9_476_582


def test_trunk_and_head_make_the_whole(fill):
    network = policy.PolicyNet(4, (8, 8, 6))
    deviation, ratio, distance = _inputs()
    variables = fill(network, deviation, ratio, distance)
    trunk = network.apply(variables, deviation, method="trunk")
    assert trunk.shape == (3, 6)
    np.testing.assert_allclose(
        network.apply(variables, trunk, ratio, distance, method="head"),
        network.apply(variables, deviation, ratio, distance),
        atol=1e-6,
    )


def test_history_enters_in_the_order_ratio_then_distance(fill):
    network = policy.PolicyNet(4, (8, 6))
    deviation, ratio, distance = _inputs()
    variables = fill(network, deviation, ratio, distance)
    kernel = variables["params"]["FC2"]["kernel"]
    zero = jnp.zeros(3)
    change = network.apply(variables, deviation, ratio, distance) - network.apply(
        variables, deviation, zero, zero
    )
    expected = ratio[:, None] * kernel[-2] + distance[:, None] * kernel[-1]
    np.testing.assert_allclose(change, expected, atol=1e-5)


def test_key_bias_moves_the_key_logit_alone():
    inputs = _inputs()
    logits = {}
    for bias in (0.0, -2.0):
        network = policy.PolicyNet(4, (8, 6), key_bias=bias)
        logits[bias] = network.init_with_output(jax.random.key(0), *inputs)[0]
    np.testing.assert_allclose(
        logits[-2.0] - logits[0.0], np.tile([0.0, -2.0], (3, 1)), atol=1e-6
    )


def test_small_action_scale_leaves_the_first_decision_to_the_bias():
    network = policy.PolicyNet(4, (8, 6), key_bias=-3.0, action_scale=1e-3)
    logits, _ = network.init_with_output(jax.random.key(0), *_inputs())
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], -3.0, atol=0.05)
