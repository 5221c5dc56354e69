import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import convolution, depthwise, forms


def programs(fn, *arguments):
    """Return what is lowered by default and in the plain forms, and both results."""
    default = jax.jit(lambda *x: fn(*x))
    plainly = jax.jit(lambda *x: fn(*x))
    with forms.plain():
        lowered = plainly.lower(*arguments)
    return (
        default.lower(*arguments).as_text(),
        lowered.as_text(),
        default(*arguments),
        lowered.compile()(*arguments),
    )


def draw(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
    ("fn", "arguments"),
    [
        (depthwise.depthwise_conv, (draw(1, 9, 8, 6), draw(3, 3, 1, 6))),
        (convolution.conv, (draw(1, 9, 8, 6), draw(1, 1, 6, 5))),
        (convolution.conv, (draw(1, 9, 8, 3), draw(3, 3, 3, 5))),
        (
            lambda x, k: convolution.deconv(x, k, (17, 16)),
            (draw(1, 9, 8, 6), draw(4, 4, 5, 6)),
        ),
    ],
)
def test_plain_forms_are_other_programs_with_the_same_result(fn, arguments):
    default, plain, ours, expected = programs(fn, *arguments)
    if jax.default_backend() == "cpu":
        assert default != plain
    assert "stablehlo.convolution" in plain
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_plain_ends_with_its_block_even_by_an_error():
    with pytest.raises(RuntimeError):
        with forms.plain():
            assert forms.is_plain() and not forms.for_cpu()
            raise RuntimeError
    assert not forms.is_plain()
