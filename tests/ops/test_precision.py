import contextlib
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.ops import convolution, depthwise, forms, precision, resize


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_auto_is_bfloat16_on_a_gpu_alone(monkeypatch):
    found = {}
    for platform in ("cpu", "gpu", "tpu"):
        monkeypatch.setattr(jax, "default_backend", lambda name=platform: name)
        found[platform] = precision.dtype("auto")
    expected = {"cpu": jnp.float32, "gpu": jnp.bfloat16, "tpu": jnp.float32}
    assert found == expected


def test_what_is_no_precision_is_refused_by_name():
    with pytest.raises(UserError, match="'half'.*auto or float32 or bfloat16.*runtime"):
        precision.resolve("half")


PRODUCTS = {
    "convolution": (convolution.conv, draw(2, 9, 8, 64), draw(3, 3, 64, 6)),
    "1x1": (convolution.conv, draw(2, 9, 8, 64), draw(1, 1, 64, 6)),
    "few channels": (convolution.conv, draw(2, 9, 8, 3), draw(7, 7, 3, 6)),
    "in loops": (convolution.conv_for_loops, draw(2, 9, 8, 64), draw(3, 3, 64, 6)),
    "transposed": (
        functools.partial(convolution.deconv, size=(17, 16)),
        draw(2, 9, 8, 64),
        draw(4, 4, 6, 64),
    ),
    "depthwise": (depthwise.depthwise_conv, draw(2, 9, 8, 6), draw(3, 3, 1, 6)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_round_what_goes_in_and_their_result_and_nothing_else(name):
    """In the platform's form and in the plain one, whose sums are XLA's own."""
    fn, x, kernel = PRODUCTS[name]
    narrow = x.astype(jnp.bfloat16)
    exact = fn(
        narrow.astype(jnp.float32),
        jnp.asarray(kernel.astype(jnp.bfloat16), jnp.float32),
    )
    found = precision.product(fn, narrow, kernel)
    with forms.plain():
        plain = precision.product(fn, narrow, kernel)
    for result in (found, plain):
        assert result.dtype == jnp.bfloat16
        # Half of the last of 8 binary digits.
        np.testing.assert_allclose(
            result.astype(jnp.float32), exact, rtol=2**-7.99, atol=1e-4
        )
    wide = precision.wide_product(fn, narrow, kernel)
    assert wide.dtype == jnp.float32
    np.testing.assert_allclose(wide, exact, rtol=1e-5, atol=1e-5)


def test_float32_products_are_the_operations_themselves():
    fn, x, kernel = PRODUCTS["convolution"]
    ours = jax.jit(lambda *args: precision.product(fn, *args)).lower(x, kernel)
    theirs = jax.jit(lambda *args: fn(*args)).lower(x, kernel)
    assert ours.as_text() == theirs.as_text()


@pytest.mark.parametrize("plain", [False, True])
def test_long_sums_lose_nothing(plain):
    """Sums of 31104 ones, as in the policy's first layer; bfloat16 stops at 256."""
    ones, count = jnp.ones((1, 9, 9, 384), jnp.bfloat16), 9 * 9 * 384
    kernel = jnp.ones((9, 9, 384, 2))
    conv = functools.partial(convolution.conv, padding="VALID")
    dense = nn.Dense(2, dtype=jnp.bfloat16)
    variables = {"params": {"kernel": jnp.ones((count, 2)), "bias": jnp.zeros(2)}}
    with forms.plain() if plain else contextlib.nullcontext():
        assert (precision.product(conv, ones, kernel) == count).all()
        found = jax.jit(dense.apply)(variables, ones.reshape(1, -1))
    assert found.dtype == jnp.bfloat16 and (found == count).all()
    one_by_one = jax.lax.fori_loop(
        0, 1000, lambda _, total: total + jnp.bfloat16(1), jnp.bfloat16(0)
    )
    assert one_by_one == 256


def test_gradients_of_products_and_biases_have_the_parameters_type():
    _, x, kernel = PRODUCTS["convolution"]

    def loss(kernel, bias, dtype):
        y = precision.product(convolution.conv, x.astype(dtype), kernel)
        y = precision.add_bias(y, bias)
        return (y.astype(jnp.float32) ** 2).mean()

    grad = jax.jit(jax.grad(loss, (0, 1)), static_argnums=2)
    bias = draw(6, seed=1)
    found, expected = (grad(kernel, bias, d) for d in (jnp.bfloat16, jnp.float32))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == jnp.float32
        assert np.linalg.norm(ours - theirs) < 0.02 * np.linalg.norm(theirs)
        assert not np.array_equal(ours, theirs)


def test_bfloat16_is_resized_in_float32():
    x = draw(1, 5, 7, 3).astype(jnp.bfloat16)
    found = resize.resize_bilinear(x, (11, 9))
    expected = resize.resize_bilinear(x.astype(jnp.float32), (11, 9))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found, expected.astype(jnp.bfloat16))
