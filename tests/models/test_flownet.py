import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import flownet, parameters

# Parameter counts of FlowNetS at both widths, TensorFlow and PyTorch flavours.
THIN, WIDE, WIDE_WITH_BIAS = 5_462_306, 38_675_546, 38_676_506


def _init_and_apply(network, height, width):
    frame = jax.ShapeDtypeStruct((1, height, width, 3), jnp.uint8)

    def run(current, key):
        output, variables = network.init_with_output(jax.random.key(0), current, key)
        return variables, output

    return jax.eval_shape(run, frame, frame)


@pytest.mark.parametrize(
    "base, bias, count",
    [(24, False, THIN), (64, False, WIDE), (64, True, WIDE_WITH_BIAS)],
)
def test_both_widths_have_the_published_size(base, bias, count):
    network = flownet.FlowNetS(base, num_classes=None, deconv_bias=bias)
    variables, output = _init_and_apply(network, 65, 65)
    assert parameters.count_parameters(variables) == count
    assert output.scale is None


def test_scale_head_of_dvsnet_has_its_published_size():
    variables, _ = _init_and_apply(flownet.FlowNetS(24, num_classes=19), 65, 65)
    assert parameters.count_parameters(variables) == THIN + 12_673


@pytest.mark.parametrize(
    "size, grid, conv6",
    [
        ((513, 513), (129, 129), (9, 9)),
        ((288, 544), (72, 136), (5, 9)),
        ((101, 66), (26, 17), (2, 2)),
        ((64, 65), (16, 17), (1, 2)),
    ],
)
def test_any_size_keeps_its_grids(size, grid, conv6):
    _, output = _init_and_apply(flownet.FlowNetS(24, 5), *size)
    assert output.flow.shape == (1, *grid, 2)
    assert output.scale.shape == (1, *grid, 5)
    assert output.deviation.shape == (1, *conv6, 384)


@pytest.fixture(scope="module")
def small():
    network = flownet.FlowNetS(4, 3)
    rng = np.random.default_rng(0)
    current, key = rng.integers(0, 256, (2, 2, 67, 64, 3), np.uint8)
    rng = jax.random.key(0, impl="rbg")  # compiles much faster than the default
    output, variables = jax.jit(network.init_with_output)(rng, current, key)
    return network, variables, current, key, output


def test_scale_starts_at_one(small):
    np.testing.assert_array_equal(small[-1].scale, 1)


def test_flow_starts_small_but_not_at_zero(small):
    assert 1e-4 < np.abs(small[-1].flow).max() < 1.0


def test_deviation_alone_equals_that_of_the_whole_pass(small):
    network, variables, current, key, output = small
    deviation = jax.jit(functools.partial(network.apply, method="deviation"))
    np.testing.assert_allclose(
        deviation(variables, current, key), output.deviation, atol=1e-5
    )
    swapped = deviation(variables, key, current)
    assert np.abs(swapped - output.deviation).max() > 1e-3


def test_flow_is_five_times_its_head(small):
    network, variables, current, key, output = small
    apply = functools.partial(
        network.apply, capture_intermediates=True, mutable=["intermediates"]
    )
    _, state = jax.jit(apply)(variables, current, key)
    (head,) = state["intermediates"]["predict_flow2"]["__call__"]
    np.testing.assert_allclose(output.flow, 5 * head, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("normalisation", ["fixed", "stored"])
def test_comparing_embedded_frames_equals_comparing_frames(fill, normalisation):
    net = flownet.FlowNetS(8, num_classes=5, normalisation=normalisation)
    draw = np.random.default_rng(0)
    current, key = draw.integers(0, 255, (2, 3, 50, 61, 3)).astype(np.uint8)
    variables = fill(net, current, key)
    embed = jax.jit(functools.partial(net.apply, method="embed"))
    embedded = [embed(variables, frame) for frame in (current, key)]
    compare = jax.jit(functools.partial(net.apply, method="compare"))
    split = compare(variables, *embedded)
    whole = jax.jit(net.apply)(variables, current, key)
    for found, expected in zip(split, whole, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=1e-5 * scale)


def test_finest_level_of_the_pyramid_is_the_flow(fill):
    net = flownet.FlowNetS(4, num_classes=5)
    draw = np.random.default_rng(1)
    current, key = draw.integers(0, 255, (2, 2, 65, 49, 3)).astype(np.uint8)
    variables = fill(net, current, key)
    pyramid = functools.partial(net.apply, method="pyramid")
    levels = jax.jit(pyramid)(variables, current, key)
    sizes = [level.shape[1:3] for level in levels]
    assert sizes == [(2, 1), (3, 2), (5, 4), (9, 7), (17, 13)]
    flow = jax.jit(net.apply)(variables, current, key).flow
    np.testing.assert_allclose(levels[-1], flow, rtol=1e-5, atol=1e-6)


def test_mean_is_taken_off_both_frames(fill):
    draw = np.random.default_rng(2)
    current, key = draw.integers(50, 200, (2, 1, 33, 33, 3)).astype(np.float32)
    plain = flownet.FlowNetS(4)
    variables = fill(plain, current, key)
    mean = (10.0, 20.0, 30.0)
    shifted = jax.jit(flownet.FlowNetS(4, mean=mean).apply)(
        variables, current + jnp.array(mean), key + jnp.array(mean)
    )
    expected = jax.jit(plain.apply)(variables, current, key).deviation
    np.testing.assert_allclose(shifted.deviation, expected, atol=1e-5)
    assert np.abs(expected).max() > 1e-2


def _draw(*shape):
    return np.random.default_rng(3).integers(50, 200, shape).astype(np.float32)


def _prepare(variables, current, key, **fields):
    net = flownet.FlowNetS(4, **fields)
    return net.apply(variables, current, key, method="prepare")


def test_pairs_lose_the_mean_color_of_both_frames():
    current, key = _draw(2, 2, 33, 34, 3)
    prepared = _prepare({}, current, key, normalisation="pair")
    mean = np.concatenate([current, key], 1).mean((1, 2), keepdims=True)
    expected = np.concatenate([current - mean, key - mean], -1) / 255
    np.testing.assert_allclose(prepared, expected, atol=1e-6)


def test_stored_means_are_those_of_each_frame_and_stay():
    current, key = _draw(2, 2, 33, 34, 3)
    stored = {"current_mean": np.arange(3.0) / 10, "key_mean": np.arange(3.0) / 20}

    def prepare(stored):
        variables = {"batch_stats": stored}
        return _prepare(variables, current, key, normalisation="stored")

    expected = [current / 255 - stored["current_mean"], key / 255 - stored["key_mean"]]
    np.testing.assert_allclose(prepare(stored), np.concatenate(expected, -1), atol=1e-6)
    gradient = jax.grad(lambda stored: prepare(stored).sum())(stored)
    assert not any(map(np.any, gradient.values()))


def test_frames_normalised_in_pairs_cannot_be_embedded():
    net = flownet.FlowNetS(4, normalisation="pair")
    with pytest.raises(ValueError, match="cannot be embedded"):
        net.apply({}, _draw(1, 33, 33, 3), method="embed")


@pytest.mark.parametrize("fields", [{"normalisation": "mean"}, {"head": "wide"}])
def test_unknown_forms_are_named(fields):
    with pytest.raises(ValueError, match="expected one of"):
        _init_and_apply(flownet.FlowNetS(4, **fields), 33, 33)


@pytest.mark.parametrize(
    "size, grid", [((600, 1000), (38, 63)), ((513, 513), (33, 33))]
)
def test_dff_head_lies_at_stride_sixteen_of_the_image(size, grid):
    network = flownet.FlowNetS(64, 1024, deconv_bias=True, head="dff", halve_input=True)
    variables, output = _init_and_apply(network, *size)
    assert output.flow.shape == (1, *grid, 2)
    assert output.scale.shape == (1, *grid, 1024)
    # Its 1x1 convolution has no bias to train.
    assert parameters.count_parameters(variables) == WIDE_WITH_BIAS + 194 * 1024


def test_dff_head_reads_the_halved_features(fill):
    net = flownet.FlowNetS(4, 3, head="dff")
    current, key = _draw(2, 1, 41, 66, 3)
    variables = fill(net, current, key)

    @jax.jit
    def run(variables):
        return net.apply(
            variables, current, key, capture_intermediates=True, mutable="intermediates"
        )

    output, state = run(variables)
    (flow,) = state["intermediates"]["predict_flow2"]["__call__"]
    (scale,) = state["intermediates"]["predict_scale"]["__call__"]
    np.testing.assert_allclose(output.flow, 2.5 * flow, rtol=1e-5)
    np.testing.assert_allclose(output.scale, 1 + scale, rtol=1e-5)
    assert output.flow.shape == (1, 6, 9, 2) and np.std(scale) > 1e-3


def test_halved_input_is_the_mean_of_four_pixels():
    current, key = _draw(2, 1, 8, 6, 3)
    prepared = _prepare({}, current, key, halve_input=True)
    expected = current.reshape(1, 4, 2, 3, 2, 3).mean((2, 4)) / 255
    np.testing.assert_allclose(prepared[..., :3], expected, atol=1e-6)


def test_full_flow_counts_pixels_of_the_image():
    flow = jnp.broadcast_to(jnp.array([1.0, -2.0]), (1, 16, 32, 2))
    full = flownet.full_flow(flow, (64, 128))
    np.testing.assert_allclose(full[0, 5, 7], [4, -8])
    assert full.shape == (1, 64, 128, 2)
    # F saw the image of 50 x 100 enlarged to 64 x 128.
    full = flownet.full_flow(flow, (50, 100), input_size=(64, 128))
    np.testing.assert_allclose(full[0, 5, 7], [4 * 100 / 128, -8 * 50 / 64], rtol=1e-6)


def test_full_flow_is_interpolated_by_the_rule_of_its_source():
    flow = jnp.stack([jnp.tile(jnp.array([0.0, 1.0]), (2, 1)), jnp.zeros((2, 2))], -1)
    half_pixel = flownet.full_flow(flow, (8, 8))
    np.testing.assert_allclose(
        half_pixel[0, :, 0], [0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4], atol=1e-6
    )
    corners = flownet.full_flow(flow, (8, 8), "corners")
    np.testing.assert_allclose(corners[0, :, 0], np.arange(8) * 4 / 7, atol=1e-6)


def test_features_are_brought_to_the_grid_of_the_flow():
    key = jnp.arange(8.0).reshape(2, 4, 1)
    flow = jnp.broadcast_to(jnp.array([1.0, 0.0]), (4, 8, 2))
    motion = flownet.FlowOutput(flow, jnp.full((4, 8, 1), 3.0), jnp.zeros(()))
    found = flownet.propagate_on_flow_grid(motion, key, rule="legacy")
    # Legacy resizing halves the steps and repeats the last pixel; then one to the left.
    row = [0.5, 1, 1.5, 2, 2.5, 3, 3, 3]
    np.testing.assert_allclose(found[0, :, 0], 3 * np.array(row), atol=1e-6)


def test_without_scale_head_features_are_warped_alone():
    key = jnp.arange(12.0).reshape(3, 4, 1)
    flow = jnp.broadcast_to(jnp.array([0.0, 1.0]), (3, 4, 2))
    motion = flownet.FlowOutput(flow, None, jnp.zeros(()))
    np.testing.assert_allclose(flownet.propagate(motion, key)[:2], key[1:], atol=1e-6)
    zero = flownet.propagate_on_flow_grid(motion, key, rule="legacy", border="zero")
    expected = np.concatenate([key[1:], np.zeros((1, 4, 1))])
    np.testing.assert_allclose(zero, expected, atol=1e-6)
