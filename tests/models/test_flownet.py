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


def test_comparing_embedded_frames_equals_comparing_frames(fill):
    net = flownet.FlowNetS(8, num_classes=5)
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
