"""Graphs of networks and their rewrites."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxseg.benchmark.peers import graph, images
from jaxseg.models import fcn, layers
from jaxseg.ops import resize
from tests.benchmark.peers import small


def test_batch_norm_goes_into_the_weights():
    net, x = layers.ConvNorm(5, 3), small.frames(6, 7, dtype=np.float32)
    variables = small.variables_of(net, x)
    folded = small.folded(net.apply, variables, x)
    assert [node.op for node in folded.nodes] == ["conv_general_dilated", "relu"]
    _, kernel, bias = folded.nodes[0].inputs
    numbers = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)
    expected = net.apply(variables, x)
    np.testing.assert_allclose(jax.nn.relu(y + bias), expected, rtol=1e-4, atol=1e-3)


def test_no_network_is_left_with_batch_norm():
    net, image = small.segmenter("mobilenet")
    found = small.operations(net.apply, small.variables_of(net, image), image)
    assert "rsqrt" not in found
    # Of the images: x 2 / 255 - 1. Convolutions with zeros around cannot have them.
    assert (found.count("mul"), found.count("sub")) == (1, 1)


def test_weights_whose_result_is_read_elsewhere_are_left_alone():
    matrix = jnp.eye(3)
    x = np.ones((2, 3), np.float32)
    assert small.operations(lambda m, x: x @ m + 1, matrix, x) == ["linear"]
    twice = small.operations(lambda m, x: (x @ m, x @ m + 1), matrix, x)
    assert twice == ["linear"] * 2

    def shared(m, x):
        y = x @ m
        return y, y + 1

    folded = small.folded(shared, matrix, x)
    assert [node.op for node in folded.nodes] == ["linear", "add"]
    assert not any("in_place" in node.params for node in folded.nodes)


def test_align_corners_resizing_is_one_operation():
    x = np.ones((1, 4, 5, 2), np.float32)

    def resized(rule):
        return small.operations(
            lambda _, x: resize.resize_bilinear(x, (7, 9), rule), {}, x
        )

    assert resized("corners") == ["resize"]
    assert resized("half_pixel") == ["take", "take", "lerp"] * 2


def test_enlarging_is_a_product_along_each_axis():
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 2)).astype(np.float32)
    folded = small.folded(lambda _, x: fcn.enlarge(x, 2, 0, (8, 9)), {}, x)
    assert [node.op for node in folded.nodes] == ["mix", "mix"]
    y = x
    for node, expected_axis in zip(folded.nodes, (1, 2), strict=True):
        axis, matrix = node.params["axis"], node.inputs[1]
        assert axis == expected_axis and matrix.shape == (node.shape[axis], 2 + axis)
        y = np.moveaxis(np.tensordot(y, matrix, (axis, 1)), -1, axis)
    np.testing.assert_allclose(y, fcn.enlarge(x, 2, 0, (8, 9)), atol=1e-6)


def test_other_orders_of_a_product_are_not_taken_for_it():
    x = np.ones((1, 3, 4, 2), np.float32)
    found = small.operations(
        lambda m, x: jnp.tensordot(x, m, (1, 0)).transpose(0, 3, 2, 1), np.eye(3), x
    )
    assert found == ["dot_general", "transpose"]


def test_edges_of_no_pixels_leave_nothing_behind():
    x = np.ones((1, 4, 6, 2), np.float32)
    found = small.operations(lambda _, x: resize.halve(x), {}, x)
    assert found == ["reshape", "reduce_sum", "div"]


def test_a_result_without_inputs_is_refused():
    with pytest.raises(NotImplementedError, match="no constant result"):
        graph.trace(lambda m, x: m + 1, np.eye(3), (np.ones(3),))


def test_pads_around_a_dilated_input_are_cuts_off_the_whole_result():
    def fn(kernel, x):
        return lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            [(2, 1), (0, 5)],
            (2, 2),
            (1, 2),
            ("NHWC", "HWOI", "NHWC"),
        )

    kernel, x = np.ones((4, 3, 2, 3), np.float32), np.ones((1, 5, 6, 3), np.float32)
    (node,) = graph.trace(fn, kernel, (x,)).nodes
    found = images.upsampling(node)
    assert found == images.Upsampling((2, 2), (1, 2), [(1, 2), (4, -1)])
    whole = [(n - 1) * 2 + reach + 1 for n, reach in zip(x.shape[1:3], (3, 4))]
    cut = [n - low - high for n, (low, high) in zip(whole, found.cuts)]
    assert cut == list(node.shape[1:3])
