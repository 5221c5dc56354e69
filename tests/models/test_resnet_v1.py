import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import resnet_v1

SHORT = functools.partial(resnet_v1.ResNetV1, units=(2, 1, 2, 3), multi_grid=(1, 2, 4))


def _shapes(network, height, width):
    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
    rng = jax.eval_shape(jax.random.key, 0)
    found, _ = jax.eval_shape(network.init_with_output, rng, images)
    return {name: x.shape[1:] for name, x in found.items()}


@pytest.mark.parametrize("beta", [True, False])
def test_a_block_ends_with_its_stride(beta):
    found = _shapes(SHORT(beta=beta, output_stride=32), 129, 96)
    assert found["block1/unit_1/bottleneck_v1/conv3"] == (33, 24, 256)
    assert found["block1/unit_2/bottleneck_v1/conv3"] == (17, 12, 256)
    assert found["block1"] == (17, 12, 256)
    assert found["block2"] == (9, 6, 512)
    assert found["block3"] == found["block4"][:2] + (1024,) == (5, 3, 1024)


@pytest.mark.parametrize(("stride", "size"), [(8, (17, 12)), (16, (9, 6))])
def test_output_stride_bounds_the_maps(stride, size):
    found = _shapes(SHORT(output_stride=stride), 129, 96)
    assert found[resnet_v1.TOP] == (*size, 2048)
    assert found["block1"][:2] == (17, 12)


def test_low_level_lies_at_stride_four_in_the_published_units():
    found = _shapes(resnet_v1.ResNetV1(), 129, 96)
    assert found[resnet_v1.LOW_LEVEL] == (33, 24, 256)


def test_dilation_replaces_stride_on_sizes_of_any_kind(fill):
    # Odd and even: with "SAME" the strided maps would lie one pixel further on.
    x = np.random.default_rng(0).normal(size=(1, 66, 49, 3)).astype(np.float32)
    coarse, dense = SHORT(output_stride=32), SHORT(output_stride=8)
    variables = fill(coarse, x)
    coarse = jax.jit(coarse.apply)(variables, x)
    dense = jax.jit(dense.apply)(variables, x)
    assert dense["block4"].shape[1:3] == (9, 7)
    scale = np.abs(coarse["block4"]).max()
    np.testing.assert_allclose(
        dense["block4"][:, ::4, ::4], coarse["block4"], atol=1e-5 * scale
    )
    np.testing.assert_allclose(
        dense["block3"][:, ::4, ::4], coarse["block3"], atol=1e-5 * scale
    )


def test_a_grid_for_every_last_unit():
    with pytest.raises(ValueError):
        _shapes(SHORT(multi_grid=(1, 2)), 33, 33)
