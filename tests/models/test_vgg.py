import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import parameters, vgg

TINY = 1 / 32


def _sizes(body, height, width):
    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
    maps, variables = jax.eval_shape(
        lambda x: body.init_with_output(jax.random.key(0), x), images
    )
    sizes = [maps[f"pool{i}"].shape[1:3] for i in range(1, 6)]
    return sizes, variables


def test_body_has_the_published_size():
    _, variables = _sizes(vgg.Body(), 32, 32)
    assert parameters.count_parameters(variables) == 14_714_688


@pytest.mark.parametrize(
    "pooling, padding, size, expected",
    [
        # FCN's border of 100 on 513, 512 and 500 pixels.
        ("ceil", 100, 513, (356, 178, 89, 45, 23)),
        ("ceil", 100, 512, (355, 178, 89, 45, 23)),
        ("ceil", 100, 500, (349, 175, 88, 44, 22)),
        ("floor", 1, 224, (112, 56, 28, 14, 7)),
        ("floor", 1, 255, (127, 63, 31, 15, 7)),
        ("dense", 1, 513, (257, 129, 65, 65, 65)),
        ("dense", 1, 321, (161, 81, 41, 41, 41)),
        # Caffe rounds up.
        ("dense", 1, 512, (257, 129, 65, 65, 65)),
        ("dense", 1, 510, (256, 129, 65, 65, 65)),
    ],
)
def test_poolings_give_the_sizes_of_their_sources(pooling, padding, size, expected):
    sizes, _ = _sizes(vgg.Body(TINY, pooling, padding), size, size - 32)
    assert tuple(height for height, _ in sizes) == expected


def test_overlapping_pooling_takes_the_largest_of_what_is_there():
    x = -jnp.arange(1.0, 7).reshape(1, 6, 1, 1)
    y = vgg._pool(x, "dense", 1)
    np.testing.assert_array_equal(y[0, :, 0, 0], [-1, -2, -4, -6])
    y = vgg._pool(x, "dense", 5)
    np.testing.assert_array_equal(y[0, :, 0, 0], [-1, -1, -2, -3, -4, -5])


def test_unknown_pooling_is_named():
    with pytest.raises(ValueError, match="'max'; expected 'ceil'"):
        vgg._pool(jnp.zeros((1, 2, 2, 1)), "max", 1)


def test_adaptive_pooling_averages_overlapping_windows():
    # Windows of 10 to 7: pixel i averages from floor(10 i / 7) to ceil(10 (i + 1) / 7).
    x = jnp.arange(10.0).reshape(1, 10, 1, 1)
    y = vgg._pool_to(x, 7, 1)[0, :, 0, 0]
    np.testing.assert_allclose(y, [0.5, 1.5, 3, 4.5, 6, 7.5, 8.5], rtol=1e-6)


def test_classifier_has_the_published_size_and_one_pixel():
    network = vgg.Classifier()
    images = jax.ShapeDtypeStruct((2, 225, 300, 3), jnp.uint8)
    logits, variables = jax.eval_shape(
        lambda x: network.init_with_output(jax.random.key(0), x), images
    )
    assert logits.shape == (2, 1, 1, 1000)
    assert parameters.count_parameters(variables) == 138_357_544
