import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxseg.ops import convolution


def _normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _plain(x, kernel, stride, padding):
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.mark.parametrize(
    "kernel_size, channels, stride",
    [(1, (9, 4), 1), (1, (9, 4), 2), (3, (3, 16), 2), (7, (6, 12), 2), (3, (9, 30), 1)],
)
@pytest.mark.parametrize("size", [(8, 9), (7, 6)])
def test_conv_equals_the_plain_convolution(kernel_size, channels, stride, size):
    x = _normal(0, 2, *size, channels[0])
    kernel = _normal(1, kernel_size, kernel_size, *channels)
    y = convolution.conv(x, kernel, stride)
    expected = _plain(x, kernel, stride, "SAME")
    np.testing.assert_allclose(y, expected, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "padding", ["SAME", "VALID", ((0, 0), (0, 0)), ((1, 2), (0, 3))]
)
def test_kernels_of_one_pixel_are_padded_as_others_are(stride, padding):
    x, kernel = _normal(0, 2, 6, 7, 9), _normal(1, 1, 1, 9, 4)
    y = convolution.conv(x, kernel, stride, padding)
    expected = _plain(x, kernel, stride, padding)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, atol=1e-4)


@pytest.mark.parametrize("channels", [3, 9])
def test_rate_spreads_the_kernel(channels):
    x, kernel = _normal(0, 1, 9, 7, channels), _normal(1, 3, 3, channels, 4)
    spread = jnp.zeros((7, 7, channels, 4)).at[::3, ::3].set(kernel)
    y = convolution.conv(x, kernel, rate=3)
    np.testing.assert_allclose(y, _plain(x, spread, 1, "SAME"), atol=1e-4)


@pytest.mark.parametrize("impl", ["dot", "lax"])
def test_deconv_scatters_every_pixel_over_its_four_by_four_window(impl):
    x, kernel = _normal(0, 1, 3, 5, 4), _normal(1, 4, 4, 2, 4)
    canvas = np.zeros((1, 8, 12, 2))
    for i in range(3):
        for j in range(5):
            window = np.einsum("bi,hwoi->bhwo", x[:, i, j], kernel)
            canvas[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += window
    y = convolution.deconv(x, kernel, (6, 10), impl)
    np.testing.assert_allclose(y, canvas[:, 1:-1, 1:-1], atol=1e-5)


@pytest.mark.parametrize("impl", ["dot", "lax"])
@pytest.mark.parametrize("size", [(5, 10), (6, 9), (5, 9)])
def test_odd_target_is_the_top_left_of_the_even_one(impl, size):
    x, kernel = _normal(0, 2, 3, 5, 4), _normal(1, 4, 4, 2, 4)
    full = convolution.deconv(x, kernel, (6, 10), impl)
    cut = convolution.deconv(x, kernel, size, impl)
    np.testing.assert_allclose(cut, full[:, : size[0], : size[1]], atol=1e-5)


@pytest.mark.parametrize("size", [(6, 10), (5, 9)])
def test_both_forms_of_deconv_have_the_same_gradients(size):
    x, kernel = _normal(0, 2, 3, 5, 4), _normal(1, 4, 4, 3, 4)

    def gradients(impl):
        def score(x, kernel):
            return jnp.sum(jnp.sin(convolution.deconv(x, kernel, size, impl)))

        return jax.jit(jax.grad(score, (0, 1)))(x, kernel)

    for one, other in zip(gradients("dot"), gradients("lax"), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((3, 3), (5, 6)), ((1, 5), (5, 6)), ((5, 5), (2, 1)), ((3, 3), (1, 1))],
)
def test_the_form_for_loops_has_the_gradients_of_the_plain_one(shape, size):
    draw = np.random.default_rng(0)
    x = jnp.asarray(draw.normal(size=(2, *size, 3)), jnp.float32)
    kernel = jnp.asarray(draw.normal(size=(*shape, 3, 4)), jnp.float32)

    def value(fn):
        return lambda x, kernel: jnp.sin(fn(x, kernel)).sum()

    found, expected = (
        jax.value_and_grad(value(fn), (0, 1))(x, kernel)
        for fn in (convolution.conv_for_loops, convolution.conv)
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
