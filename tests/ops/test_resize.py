import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import resize


def _ramp(height, width):
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return jnp.stack([rows, columns], -1)


@pytest.mark.parametrize("size", [(17, 25), (3, 4), (5, 13), (1, 1), (2, 9)])
def test_linear_ramp_stays_a_ramp_between_the_same_corners(size):
    y = resize.resize_bilinear(_ramp(5, 7), size)
    rows = np.linspace(0, 4, size[0]) if size[0] > 1 else np.zeros(1)
    columns = np.linspace(0, 6, size[1]) if size[1] > 1 else np.zeros(1)
    np.testing.assert_allclose(y[..., 0], np.tile(rows[:, None], size[1]), atol=1e-5)
    np.testing.assert_allclose(y[..., 1], np.tile(columns, (size[0], 1)), atol=1e-5)


def test_corners_are_exact_for_any_values():
    x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)
    y = np.asarray(resize.resize_bilinear(jnp.asarray(x), (129, 33)))
    np.testing.assert_allclose(y[::128, ::32], x[::3, ::5], atol=1e-6)


def test_leading_axes_are_independent():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5, 4, 2)), jnp.float32)
    y = resize.resize_bilinear(x, (9, 10))
    assert y.shape == (2, 3, 9, 10, 2)
    np.testing.assert_allclose(
        y[1, 2], resize.resize_bilinear(x[1, 2], (9, 10)), atol=1e-6
    )


@pytest.mark.parametrize("size", [(17, 25), (3, 4), (1, 1), (5, 2)])
def test_gradient_is_the_transpose_of_the_linear_map(size):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(5, 7, 2)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(*size, 2)), jnp.float32)

    def score(x):
        return jnp.sum(weights * resize.resize_bilinear(x, size))

    # <A'w, x> = <w, Ax> for every pair makes A' the transpose of A.
    gradient = jax.jit(jax.grad(score))(x)
    for direction in jnp.asarray(rng.normal(size=(6, 5, 7, 2)), jnp.float32):
        np.testing.assert_allclose(
            jnp.sum(gradient * direction), score(direction), rtol=2e-4, atol=2e-4
        )


def test_uniform_zoom_keeps_its_form_in_pixels_of_the_new_grid():
    # Zoom about the top-left corner: the flow at p is p / 2.
    flow = _ramp(9, 17)[..., ::-1] / 2
    np.testing.assert_allclose(
        resize.resize_flow(flow, (33, 33)), _ramp(33, 33)[..., ::-1] / 2, atol=1e-5
    )


def test_flow_of_a_one_pixel_axis_is_left_alone():
    flow = jnp.full((1, 5, 2), 3.0)
    scaled = resize.resize_flow(flow, (1, 9))
    np.testing.assert_allclose(scaled[..., 0], 6.0)
    np.testing.assert_allclose(scaled[..., 1], 3.0)
