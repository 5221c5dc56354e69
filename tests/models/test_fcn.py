import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxseg.models import fcn, parameters

TINY = {"num_classes": 3, "width": 1 / 32, "hidden": 4, "dropout": 0.0}


def _shapes(network, height, width):
    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.uint8)
    logits, variables = jax.eval_shape(
        lambda x: network.init_with_output(jax.random.key(0), x), images
    )
    features = jax.eval_shape(
        lambda v, x: network.apply(v, x, method="features"), variables, images
    )
    return logits.shape, features.shape, variables


@pytest.mark.parametrize(
    "variant, count",
    [("32s", 134_346_581), ("16s", 134_357_354), ("8s", 134_362_751)],
)
def test_variants_have_the_size_of_their_files(variant, count):
    _, _, variables = _shapes(fcn.FCN(21, variant), 8, 8)
    assert parameters.count_parameters(variables) == count
    assert "batch_stats" not in variables


@pytest.mark.parametrize("variant", fcn.VARIANTS)
@pytest.mark.parametrize("size", [(513, 512), (500, 37), (1, 7)])
def test_logits_have_the_size_of_the_image(variant, size):
    logits, features, _ = _shapes(fcn.FCN(variant=variant, **TINY), *size)
    assert logits == (1, *size, 3)
    assert features == (1, *((side - 1) // 4 + 1 for side in size), 3)


def test_unknown_variant_is_named():
    with pytest.raises(ValueError, match="'4s'; expected one of: 32s"):
        _shapes(fcn.FCN(variant="4s"), 8, 8)


@pytest.mark.parametrize("stride", [2, 8, 32])
def test_enlargement_is_caffes_deconvolution_with_bilinear_weights(stride):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 3, 2)), jnp.float32)
    line = 1 - np.abs(np.arange(2 * stride) - stride + 0.5) / stride
    weights = np.outer(line, line)[:, :, None, None] * np.eye(2)
    border = 2 * stride - 1
    expected = lax.conv_general_dilated(
        x,
        weights.astype(np.float32),
        (1, 1),
        [(border, border)] * 2,
        lhs_dilation=(stride, stride),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    assert expected.shape[1:3] == (5 * stride, 4 * stride)
    y = fcn.enlarge(x, stride, 1, (5 * stride - 2, 4 * stride - 2))
    np.testing.assert_allclose(y, expected[:, 1:-1, 1:-1], atol=1e-5)


def test_fresh_scores_are_zero():
    network = fcn.FCN(**TINY)
    images = np.zeros((1, 5, 6, 3), np.uint8)
    variables = jax.jit(network.init)(jax.random.key(0, impl="rbg"), images)
    for name in network.HEAD:
        assert not np.any(variables["params"][name]["kernel"])
    assert np.any(variables["params"]["fc7"]["kernel"])


def test_posterior_has_every_fourth_pixel_of_the_logits(fill):
    network = fcn.FCN(**TINY)
    images = np.random.default_rng(0).integers(0, 256, (1, 33, 17, 3), np.uint8)
    variables = fill(network, images)

    @jax.jit
    def run(variables):
        features = network.apply(variables, images, method="features")
        return network.apply(variables, images), features

    logits, features = run(variables)
    assert np.std(logits) > 1e-2
    expected = jax.nn.softmax(logits[:, ::4, ::4])
    np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize("size, fc6", [(513, 17), (512, 17), (500, 16)])
def test_fc6_has_the_size_of_the_source(size, fc6):
    network = fcn.FCN(**TINY)
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.uint8)
    _, _, variables = _shapes(network, size, size)
    _, state = jax.eval_shape(
        lambda v, x: network.apply(
            v, x, capture_intermediates=True, mutable="intermediates"
        ),
        variables,
        images,
    )
    (found,) = state["intermediates"]["fc6"]["__call__"]
    assert found.shape[1:3] == (fc6, fc6)


@pytest.mark.parametrize(
    "old, stride, new",
    [(17, 2, 36), (36, 2, 74), (74, 8, 600), (17, 32, 576), (70, 8, 568)],
)
def test_enlargement_has_the_size_of_the_source(old, stride, new):
    x = jax.ShapeDtypeStruct((1, old, old, 1), jnp.float32)
    y = jax.eval_shape(lambda x: fcn.enlarge(x, stride, 0, (9999, 9999)), x)
    assert y.shape == (1, new, new, 1)
