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


def test_half_pixel_doubling_has_quarters():
    y = resize.resize_bilinear(jnp.array([[[0.0]], [[4.0]]]), (4, 1), "half_pixel")
    np.testing.assert_allclose(y[:, 0, 0], [0, 1, 3, 4])


def test_half_pixel_ramp_is_a_ramp_between_its_flat_ends():
    y = np.asarray(resize.resize_bilinear(_ramp(5, 7), (20, 11), "half_pixel"))
    rows = np.clip((np.arange(20) + 0.5) / 4 - 0.5, 0, 4)
    columns = np.clip((np.arange(11) + 0.5) * 7 / 11 - 0.5, 0, 6)
    np.testing.assert_allclose(y[:, 3, 0], rows, atol=1e-5)
    np.testing.assert_allclose(y[2, :, 1], columns, atol=1e-5)


def test_legacy_ramp_starts_at_the_corner_and_ends_flat():
    y = np.asarray(resize.resize_bilinear(_ramp(5, 9), (8, 4), "legacy"))
    rows = [0, 0.625, 1.25, 1.875, 2.5, 3.125, 3.75, 4]
    np.testing.assert_allclose(y[:, 1, 0], rows, atol=1e-5)
    np.testing.assert_allclose(y[0, :, 1], [0, 2.25, 4.5, 6.75], atol=1e-5)


def test_legacy_halving_takes_every_second_pixel():
    x = np.random.default_rng(0).normal(size=(6, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        resize.resize_bilinear(jnp.asarray(x), (3, 4), "legacy"), x[::2, ::2]
    )


def test_unknown_rule_is_named():
    with pytest.raises(ValueError, match="'nearest'; expected one of: corners"):
        resize.resize_bilinear(jnp.zeros((2, 2, 1)), (3, 3), "nearest")


def test_halving_averages_the_pixels_that_are_there():
    x = jnp.arange(15.0).reshape(1, 3, 5, 1)
    expected = [[3, 5, 6.5], [10.5, 12.5, 14]]
    np.testing.assert_allclose(resize.halve(x)[0, ..., 0], expected)


@pytest.mark.parametrize(
    "size, rule",
    [
        ((17, 25), "corners"),
        ((3, 4), "corners"),
        ((1, 1), "corners"),
        ((5, 2), "corners"),
        ((9, 4), "half_pixel"),
        ((9, 4), "legacy"),
    ],
)
def test_gradient_is_the_transpose_of_the_linear_map(size, rule):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(5, 7, 2)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(*size, 2)), jnp.float32)

    def score(x):
        return jnp.sum(weights * resize.resize_bilinear(x, size, rule))

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
