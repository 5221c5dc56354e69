import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.models import decision, parameters

SMALL = {"conv_channels": 4, "hidden": (6, 5)}


def _init(network, *shape):
    deviation = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.eval_shape(lambda x: network.init(jax.random.key(0), x), deviation)


def test_it_has_the_size_of_its_checkpoint_whatever_the_region():
    for height, width in ((4, 8), (5, 9), (2, 3)):
        variables = _init(decision.DecisionNet(), 4, height, width, 384)
        assert parameters.count_parameters(variables) == 4_538_485


def test_output_is_activated(fill):
    network = decision.DecisionNet(dropout=0.0, **SMALL)
    deviation = np.random.default_rng(0).normal(size=(3, 4, 8, 6)).astype(np.float32)
    variables = fill(network, deviation)
    apply = jax.jit(network.apply)
    last = variables["params"]["FC2"]
    last["bias"] = last["bias"] + 100
    high = apply(variables, deviation)
    assert high.shape == (3,) and high.min() > 0
    last["kernel"], last["bias"] = -last["kernel"], -last["bias"]
    np.testing.assert_allclose(apply(variables, deviation), -0.1 * high, rtol=1e-4)


def test_dropout_is_for_training_alone(fill):
    network = decision.DecisionNet(**SMALL)
    deviation = np.random.default_rng(0).normal(size=(3, 4, 8, 6)).astype(np.float32)
    variables = fill(network, deviation)

    @jax.jit
    def train(rng):
        return network.apply(variables, deviation, True, rngs={"dropout": rng})

    first, second = (train(jax.random.key(seed)) for seed in (0, 1))
    assert np.abs(first - second).max() > 1e-3
