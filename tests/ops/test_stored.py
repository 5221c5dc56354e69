import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import stored


@pytest.fixture(scope="module")
def posterior():
    logits = np.random.default_rng(0).normal(0, 4, (50, 9, 5))
    return jax.nn.softmax(jnp.asarray(logits, jnp.float32))


def test_float32_comes_back_bit_for_bit(posterior):
    found = stored.decode(stored.encode(posterior, "float32"))
    np.testing.assert_array_equal(found, posterior)


@pytest.mark.parametrize(("name", "most"), [("uint8", 1 / 510), ("bfloat16", 2**-8)])
def test_rounding_goes_to_the_nearest(posterior, name, most):
    rounded = stored.encode(posterior, name)
    assert rounded.dtype == stored.DTYPES[name]
    error = np.abs(stored.decode(rounded) - posterior)
    scale = 1.0 if name == "uint8" else posterior  # relative where floating
    assert most / 2 < (error / scale).max() <= most * (1 + 1e-4)


def test_logits_keep_their_sign_and_size_in_bfloat16():
    logits = jnp.array([-40.0, -1e-3, 0.0, 3.1416, 1e4])
    found = stored.decode(stored.encode(logits, "bfloat16"))
    np.testing.assert_allclose(found, logits, rtol=2**-8)


def test_the_ends_of_probabilities_are_exact_in_uint8():
    ends = jnp.array([0.0, 1.0])
    np.testing.assert_array_equal(stored.decode(stored.encode(ends, "uint8")), ends)
