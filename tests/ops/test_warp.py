import json

import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util

from jaxseg.ops import warp


def _image(height=6, width=7, channels=2):
    values = np.random.default_rng(0).normal(size=(height, width, channels))
    return values.astype(np.float32)


def _constant_flow(image, x, y):
    return jnp.broadcast_to(jnp.array([x, y], jnp.float32), (*image.shape[:2], 2))


def test_zero_flow_returns_the_image():
    image = _image()
    for border in ("clamp", "zero"):
        warped = warp.warp(image, _constant_flow(image, 0, 0), border)
        np.testing.assert_array_equal(warped, image)


def test_integer_flow_shifts_and_clamps():
    image = _image()
    warped = warp.warp(image, _constant_flow(image, 2, -1))
    rows = np.clip(np.arange(6) - 1, 0, 5)
    columns = np.clip(np.arange(7) + 2, 0, 6)
    np.testing.assert_allclose(warped, image[rows][:, columns], atol=1e-6)


def test_integer_flow_shifts_in_zeros():
    image = _image()
    warped = warp.warp(image, _constant_flow(image, 2, -1), "zero")
    expected = np.zeros_like(image)
    expected[1:, :-2] = image[:-1, 2:]
    np.testing.assert_allclose(warped, expected, atol=1e-6)


def test_half_a_pixel_outside_is_half_zero():
    image = np.ones((3, 4, 1), np.float32)
    warped = warp.warp(image, _constant_flow(image, 0.5, 0), "zero")
    np.testing.assert_allclose(warped[:, :, 0], [[1, 1, 1, 0.5]] * 3)


def test_wild_flow_stays_finite():
    image = _image()
    for border, edge in (("clamp", image[-1, 0]), ("zero", 0 * image[0, 0])):
        warped = warp.warp(image, _constant_flow(image, -1e30, 1e30), border)
        np.testing.assert_allclose(warped, np.broadcast_to(edge, image.shape))


def test_gradients_match_finite_differences():
    image = jnp.asarray(_image())
    flow = 0.3 + jnp.asarray(np.random.default_rng(1).uniform(0, 0.3, (6, 7, 2)))
    flow = flow.astype(jnp.float32)
    for border in ("clamp", "zero"):

        def score(image, flow, border=border):
            return jnp.sum(jnp.sin(warp.warp(image, flow, border)))

        test_util.check_grads(
            score, (image, flow), order=1, modes=["rev"], atol=2e-2, rtol=2e-2
        )


def test_unknown_border_is_refused():
    image = _image()
    with pytest.raises(ValueError, match="clamp"):
        warp.warp(image, _constant_flow(image, 0, 0), "wrap")


@pytest.fixture(scope="module")
def truth(shared):
    """A real stereo pair with measured flow, warped by SciPy and PyTorch."""
    folder = shared("parity/warp_truth/inputs.npz").parent
    manifest = json.loads((folder / "manifest.json").read_text())
    inputs = dict(np.load(folder / "inputs.npz"))
    return inputs, dict(np.load(folder / "outputs.npz")), manifest


@pytest.mark.parametrize("flow", ["truth", "swirl"])
@pytest.mark.parametrize("border", ["clamp", "zero"])
def test_matches_scipy_and_torch_on_a_real_pair(truth, flow, border):
    inputs, outputs, manifest = truth
    key = f"{flow}/{border}s" if border == "zero" else f"{flow}/{border}"
    field = inputs["flow" if flow == "truth" else flow]
    warped = warp.warp(jnp.asarray(inputs["right"], jnp.float32), field, border)
    spec = manifest["outputs"][key]
    window = tuple(slice(*limits) for limits in spec["slice"])
    assert np.abs(warped[window] - outputs[key]).max() <= 1e-4 * spec["absmax"]


def test_direction_of_a_real_flow(truth):
    inputs, _, manifest = truth
    expected = manifest["expect_abs_difference_to_left_where_valid"]
    left, right, flow = inputs["left"], inputs["right"], inputs["flow"]
    flows = {
        "flow": flow,
        "minus_flow": -flow,
        "no_warp": 0 * flow,
        "axes_swapped": flow[..., ::-1],
    }
    for name, field in flows.items():
        warped = warp.warp(jnp.asarray(right, jnp.float32), field)
        difference = np.abs(np.asarray(warped) - left)[inputs["valid"]].mean(-1)
        assert abs(difference.mean() - expected[name]["mean"]) < 0.01, name
        assert abs(np.median(difference) - expected[name]["median"]) < 0.01, name
