import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import deeplab_fast, parameters

TINY = {"num_classes": 4, "width": 1 / 32, "units": (1, 2, 4, 1)}


def _shapes(network, height, width):
    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.uint8)
    logits, variables = jax.eval_shape(
        lambda x: network.init_with_output(jax.random.key(0), x), images
    )
    return logits.shape, variables


def test_it_has_the_size_of_its_checkpoint():
    _, variables = _shapes(deeplab_fast.DeepLabFast(), 16, 16)
    assert parameters.count_parameters(variables) == 57_254_208
    # Units have the names of the checkpoint.
    names = set(variables["params"])
    assert {"res2c_branch2c", "res3b3_branch2a", "bn4b22_branch2b"} <= names
    assert {"res5a_branch1", "res5c_branch2b", "fc1_voc12_c3_bn"} <= names


@pytest.mark.parametrize(
    "size, grid",
    [((576, 1088), (36, 68)), ((512, 1024), (32, 64)), ((513, 513), (33, 33))],
)
def test_logits_lie_at_stride_sixteen(size, grid):
    shape, _ = _shapes(deeplab_fast.DeepLabFast(**TINY), *size)
    assert shape == (1, *grid, 4)


def test_rates_are_those_of_the_source():
    rates = [deeplab_fast._rate(4, index) for index in range(23)]
    assert rates[:8] == [1, 4, 2, 2, 4, 2, 2, 4] and rates[-2:] == [2, 4]
    assert [deeplab_fast._rate(5, index) for index in range(3)] == [4, 8, 16]
    assert {deeplab_fast._rate(stage, 1) for stage in (2, 3)} == {1}


def test_features_are_the_logits(fill):
    network = deeplab_fast.DeepLabFast(**TINY)
    images = np.random.default_rng(0).integers(0, 256, (1, 33, 49, 3), np.uint8)
    variables = fill(network, images)

    @jax.jit
    def run(variables):
        features = network.apply(variables, images, method="features")
        return network.apply(variables, images), features

    logits, features = run(variables)
    np.testing.assert_array_equal(features, logits)
    assert features.sum(-1).std() > 1e-3


def test_scores_are_enlarged_by_the_rule_of_the_source():
    # Pixel i of the features is pixel 2 i of the image, and the last one is repeated.
    features = np.array([[0.0, 2.0], [4.0, 6.0]], np.float32)[..., None]
    scores = deeplab_fast.DeepLabFast.task(features, (4, 4))
    np.testing.assert_allclose(scores[0, :, 0], [0, 1, 2, 2])
    np.testing.assert_allclose(scores[:, 3, 0], [2, 4, 6, 6])
