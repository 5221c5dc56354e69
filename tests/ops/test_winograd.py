import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxseg.ops import convolution, forms, winograd

MANY = 64


def _normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _direct(x, kernel, pads, rate):
    return lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        pads,
        rhs_dilation=(rate, rate),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _assert_close(found, expected):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (9, 5)])
@pytest.mark.parametrize("rate", [1, 2, 3])
@pytest.mark.parametrize("before, behind", [(1, 1), (2, 0)])
def test_equals_the_direct_convolution(size, rate, before, behind):
    x, kernel = _normal(0, 2, *size, 5), _normal(1, 3, 3, 5, 4)
    pads = ((before * rate, behind * rate), (behind * rate, before * rate))
    found = jax.jit(lambda x, kernel: winograd.conv(x, kernel, pads, rate))(x, kernel)
    _assert_close(found, _direct(x, kernel, pads, rate))


@pytest.mark.parametrize("padding", ["SAME", ((2, 2), (2, 2))])
def test_conv_takes_it_for_many_channels_and_differentiates_as_before(padding):
    x, kernel = _normal(0, 1, 17, 16, MANY), _normal(1, 3, 3, MANY, MANY)
    weights = _normal(2, 1, 17, 16, MANY)

    def loss(x, kernel):
        y = convolution.conv(x, kernel, padding=padding, rate=2)
        return (weights * y**2).sum(), y

    grad = jax.value_and_grad(loss, (0, 1), has_aux=True)
    (_, y), gradients = jax.jit(grad)(x, kernel)
    products = str(jax.make_jaxpr(lambda *x: convolution.conv(*x))(x, kernel)).count(
        "dot_general"
    )
    assert products == 16
    with forms.plain():
        (_, expected), plain = grad(x, kernel)
    _assert_close(y, expected)
    for found, wanted in zip(gradients, plain):
        _assert_close(found, wanted)


def test_gives_examples_what_they_have_alone():
    x, kernel = _normal(0, 3, 16, 16, MANY), _normal(1, 3, 3, MANY, MANY)
    conv = jax.jit(lambda *x: convolution.conv(*x))
    alone = jnp.concatenate([conv(one[None], kernel) for one in x])
    mapped = jax.vmap(lambda one: conv(one[None], kernel)[0])(x)
    _assert_close(conv(x, kernel), alone)
    _assert_close(mapped, alone)


@pytest.mark.parametrize(
    "size, channels, kernel_size, stride, rate, dtype",
    [
        (15, MANY, 3, 1, 1, "float32"),
        (16, MANY - 1, 3, 1, 1, "float32"),
        (16, MANY, 3, 2, 1, "float32"),
        (16, MANY, 5, 1, 1, "float32"),
        (16, MANY, 3, 1, 1, "bfloat16"),
        (182, MANY, 3, 1, 1, "float32"),
        (33, MANY, 3, 1, 12, "float32"),
        (65, MANY, 3, 1, 24, "float32"),
    ],
)
def test_other_convolutions_stay_direct(
    size, channels, kernel_size, stride, rate, dtype
):
    x = jax.ShapeDtypeStruct((2, size, size, channels), dtype)
    shape = (kernel_size, kernel_size, channels, channels)
    kernel = jax.ShapeDtypeStruct(shape, dtype)
    pads = ((rate, rate), (rate, rate))
    assert not winograd.is_faster(x, kernel, stride, pads, rate)


@pytest.mark.parametrize("size, rate", [(16, 1), (33, 6), (65, 12), (65, 18)])
def test_those_whose_tiles_fit_do_not(size, rate):
    x = jax.ShapeDtypeStruct((2, size, size, MANY), "float32")
    kernel = jax.ShapeDtypeStruct((3, 3, MANY, MANY), "float32")
    pads = ((rate, rate), (rate, rate))
    assert winograd.is_faster(x, kernel, 1, pads, rate)


def test_a_convolution_may_have_no_pixels():
    x, kernel = _normal(0, 1, 16, 17, MANY), _normal(1, 3, 3, MANY, MANY)
    y = convolution.conv(x, kernel, padding="VALID", rate=8)
    assert y.shape == (1, 0, 1, MANY)


def test_is_left_out_of_the_plain_forms():
    x, kernel = _normal(0, 1, 16, 16, MANY), _normal(1, 3, 3, MANY, MANY)
    assert winograd.is_faster(x, kernel, 1, ((1, 1), (1, 1)), 1)
    with forms.plain():
        # A function of its own, so that no trace of another form is found.
        program = jax.make_jaxpr(lambda *x: convolution.conv(*x))(x, kernel)
    assert "dot_general" not in str(program)
