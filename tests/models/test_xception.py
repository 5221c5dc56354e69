import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import xception

LAYOUT = xception.LAYOUTS[65]._replace(entry=((8, 2), (8, 2), (16, 2)), middle=2)
SMALL = functools.partial(xception.Xception, LAYOUT, multi_grid=(1, 2, 4))


def _shapes(network, height, width):
    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
    rng = jax.eval_shape(jax.random.key, 0)
    found, _ = jax.eval_shape(network.init_with_output, rng, images)
    return {name: x.shape[1:] for name, x in found.items()}


@pytest.mark.parametrize(
    ("stride", "size"), [(8, (17, 12)), (16, (9, 6)), (32, (5, 3))]
)
def test_output_stride_bounds_the_maps(stride, size):
    found = _shapes(SMALL(output_stride=stride), 129, 96)
    assert found[xception.TOP] == (*size, 2048)
    assert found[LAYOUT.low_level] == (33, 24, 8)
    assert found["entry_flow/block1"] == (33, 24, 8)
    assert found["entry_flow/block2"] == (17, 12, 8)


def test_long_entry_strides_in_every_second_block():
    found = _shapes(xception.Xception(xception.LAYOUTS[71]), 65, 64)
    assert [found[f"entry_flow/block{i}"] for i in range(1, 6)] == [
        (17, 16, 128),
        (17, 16, 256),
        (9, 8, 256),
        (9, 8, 728),
        (5, 4, 728),
    ]
    assert found[xception.LAYOUTS[71].low_level] == (17, 16, 256)


def test_dilation_replaces_stride_on_sizes_of_any_kind(fill):
    # Odd and even: with "SAME" the strided maps would lie one pixel further on.
    x = np.random.default_rng(0).normal(size=(1, 66, 49, 3)).astype(np.float32)
    coarse, dense = SMALL(output_stride=32), SMALL(output_stride=8)
    variables = fill(coarse, x)
    coarse = jax.jit(coarse.apply)(variables, x)[xception.TOP]
    dense = jax.jit(dense.apply)(variables, x)[xception.TOP]
    assert dense.shape[1:3] == (9, 7)
    scale = np.abs(coarse).max()
    np.testing.assert_allclose(dense[:, ::4, ::4], coarse, atol=1e-5 * scale)
