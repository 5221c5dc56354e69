import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import depthwise


@pytest.mark.parametrize("size", [(7, 8), (8, 9)])
@pytest.mark.parametrize(
    "stride, rate, padding",
    [
        (1, 1, "SAME"),
        (2, 1, "SAME"),
        (1, 2, "SAME"),
        (1, 6, "SAME"),
        (2, 1, "VALID"),
        (2, 2, ((1, 2), (0, 3))),
    ],
)
def test_both_forms_agree_in_values_and_gradients(size, stride, rate, padding):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *size, 5)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 1, 5)), jnp.float32)

    def outcome(impl):
        def score(x, kernel):
            y = depthwise.depthwise_conv(x, kernel, stride, rate, padding, impl)
            return jnp.sum(jnp.sin(y)), y

        grad = jax.value_and_grad(score, (0, 1), has_aux=True)
        return jax.tree.leaves(jax.jit(grad)(x, kernel))

    for shifted, native in zip(outcome("shift"), outcome("lax"), strict=True):
        np.testing.assert_allclose(shifted, native, atol=2e-4, rtol=1e-4)


def test_unknown_form_is_refused():
    with pytest.raises(ValueError, match="shift"):
        depthwise.depthwise_conv(
            jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1)), impl="im2col"
        )
