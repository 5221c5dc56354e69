"""Graphs of networks, their rewrites, and that torch computes the same by them."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxseg.evaluation.torch_peer import folding, graph, ops, program
from jaxseg.models import (
    decision,
    deeplab_fast,
    deeplab_v2,
    deeplab_v3plus,
    fcn,
    flownet,
    layers,
    resnet_v1,
    vgg,
    xception,
)
from jaxseg.ops import convolution, resize

TINY_XCEPTION = xception.Layout(((8, 2), (8, 2), (16, 2)), 1, "")
# Even sides have other pads than odd ones.
SEGMENTERS = {
    "mobilenet": (deeplab_v3plus.DeepLabV3Plus(width=0.25, aspp_channels=8), (33, 40)),
    "mobilenet without decoder": (
        deeplab_v3plus.DeepLabV3Plus(width=0.25, decoder=False, aspp_rates=()),
        (40, 33),
    ),
    "resnet": (resnet_v1.ResNetV1((1, 2, 1, 3)), (33, 24)),
    "xception": (xception.Xception(TINY_XCEPTION), (24, 33)),
    "DeepLab-V2": (deeplab_v2.DeepLabV2(width=0.1, hidden=8), (32, 41)),
    "LargeFOV": (deeplab_v2.DeepLabV2(3, "large_fov", 0.1, 8), (41, 32)),
    "FCN": (fcn.FCN(width=0.1, hidden=8), (37, 32)),
    "FCN at once": (fcn.FCN(variant="8s-atonce", width=0.1, hidden=8), (33, 33)),
    "VGG": (vgg.Classifier(num_classes=6, width=0.1, hidden=8), (70, 33)),
    "DeepLab-Fast": (deeplab_fast.DeepLabFast(3, 0.1, (1, 2, 2, 3)), (48, 33)),
}
FLOWS = {
    "DVSNet": flownet.FlowNetS(4, 3),
    "NVIDIA": flownet.FlowNetS(4, None, True, normalisation="pair"),
    "Caffe": flownet.FlowNetS(4, None, normalisation="stored"),
    "Deep Feature Flow": flownet.FlowNetS(4, 6, head="dff", halve_input=True),
}


def variables_of(net, *inputs):
    """Return variables of which none is what would make its layer do nothing.

    Initializers would take most of the tests' time.
    """
    rng = np.random.default_rng(1)

    def draw(leaf):
        if len(leaf.shape) == 1:  # a variance too, so above 0
            return rng.uniform(0.2, 1.2, leaf.shape).astype(np.float32)
        deviation = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return rng.normal(0, deviation, leaf.shape).astype(np.float32)

    return jax.tree.map(draw, jax.eval_shape(net.init, jax.random.key(0), *inputs))


def frames(*size, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype(dtype)


def operations(apply, variables, *inputs):
    return [x.op for x in folding.fold(graph.trace(apply, variables, inputs)).nodes]


def assert_torch_agrees(net, *inputs):
    pytest.importorskip("torch")
    variables = variables_of(net, *inputs)
    expected = jax.tree.leaves(jax.jit(net.apply)(variables, *inputs))
    found = program.Program(net.apply, variables, inputs)
    for _ in range(2):  # A second run must find its weights and input unharmed.
        for a, b in zip(found.arrays(), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(b).max())
            assert np.ptp(b) > 0


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenters_agree_with_torch(name):
    net, size = SEGMENTERS[name]
    prepared = isinstance(net, resnet_v1.ResNetV1 | xception.Xception)
    images = frames(*size, dtype=np.float32) / 128 - 1 if prepared else frames(*size)
    assert_torch_agrees(net, images)


@pytest.mark.parametrize("name", FLOWS)
def test_flow_networks_agree_with_torch(name):
    current, key = frames(70, 65), frames(70, 65)[:, ::-1]
    assert_torch_agrees(FLOWS[name], current, np.ascontiguousarray(key))


def test_decisions_agree_with_torch():
    deviation = np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype(np.float32)
    assert_torch_agrees(decision.DecisionNet(6, (8, 9)), deviation)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: jax.nn.softmax(x, -1) * jax.nn.sigmoid(x),
        lambda x: jnp.where(x > 0, jnp.exp(x), jnp.clip(x, -0.5, 0.5)),
        lambda x: x.argmax(-1).astype(jnp.float32) / 2,
        lambda x: jnp.einsum("bhwc,bhwd->bcd", x, x[:, ::-1]),
        lambda x: jnp.pad(x[:, 1:5:2], ((0, 0), (1, 0), (0, 2), (0, 0))).max((1, 2)),
        lambda x: resize.resize_bilinear(x, (11, 9), "half_pixel"),
        lambda x: resize.resize_bilinear(resize.resize_bilinear(x, (5, 9)), (17, 9)),
        lambda x: (lambda y: jax.nn.relu(y) + y)(x @ jnp.eye(4)[::-1]),
        lambda x: jnp.float32(1) - (x @ jnp.eye(4)[::-1]) / 3,
        lambda x: 1 / (4 + x @ jnp.eye(4)[::-1]),
    ],
)
def test_operations_agree_with_torch(fn):
    pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, 6, 7, 4)).astype(np.float32)
    (found,) = program.Program(lambda _, x: fn(x), {}, (x,)).arrays()
    np.testing.assert_allclose(found, fn(jnp.asarray(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(10, 12), (9, 11), (9, 12)])
@pytest.mark.parametrize("rate", [1, 2])
def test_upsampling_convolutions_agree_with_torch(size, rate):
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 5, 6, 3)).astype(np.float32)
    kernel = rng.normal(size=(4, 4, 2, 3)).astype(np.float32)

    def fn(kernel, x):
        if rate == 1:
            return convolution.deconv(x, kernel, size, "lax")
        pads = [(3, 2 + n % 2) for n in size]
        numbers = ("NHWC", "HWOI", "NHWC")
        return lax.conv_general_dilated(
            x, kernel, (1, 1), pads, (3, 2), (2, 1), numbers
        )

    (found,) = program.Program(fn, kernel, (x,)).arrays()
    np.testing.assert_allclose(found, fn(kernel, x), rtol=1e-5, atol=1e-5)


def test_batch_norm_goes_into_the_weights():
    net, x = layers.ConvNorm(5, 3), frames(6, 7, dtype=np.float32)
    variables = variables_of(net, x)
    folded = folding.fold(graph.trace(net.apply, variables, (x,)))
    assert [node.op for node in folded.nodes] == ["conv_general_dilated", "relu"]
    _, kernel, bias = folded.nodes[0].inputs
    numbers = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)
    expected = net.apply(variables, x)
    np.testing.assert_allclose(jax.nn.relu(y + bias), expected, rtol=1e-4, atol=1e-3)


def test_no_network_is_left_with_batch_norm():
    net, size = SEGMENTERS["mobilenet"]
    images = frames(*size)
    variables = variables_of(net, images)
    found = operations(net.apply, variables, images)
    assert "rsqrt" not in found
    # Of the images: x 2 / 255 - 1. Convolutions with zeros around cannot have them.
    assert (found.count("mul"), found.count("sub")) == (1, 1)


def test_weights_whose_result_is_read_elsewhere_are_left_alone():
    matrix = jnp.eye(3)
    x = np.ones((2, 3), np.float32)
    assert operations(lambda m, x: x @ m + 1, matrix, x) == ["linear"]
    assert operations(lambda m, x: (x @ m, x @ m + 1), matrix, x) == ["linear"] * 2

    def shared(m, x):
        y = x @ m
        return y, y + 1

    folded = folding.fold(graph.trace(shared, matrix, (x,)))
    assert [node.op for node in folded.nodes] == ["linear", "add"]
    assert not any("in_place" in node.params for node in folded.nodes)


def test_align_corners_resizing_is_one_operation():
    x = np.ones((1, 4, 5, 2), np.float32)

    def resized(rule):
        return operations(lambda _, x: resize.resize_bilinear(x, (7, 9), rule), {}, x)

    assert resized("corners") == ["resize"]
    assert resized("half_pixel") == ["take", "take", "lerp"] * 2


def test_an_unknown_operation_is_named():
    (node,) = graph.trace(lambda _, x: lax.cumsum(x), {}, (np.ones(3),)).nodes
    with pytest.raises(NotImplementedError, match="no operation 'cumsum'"):
        ops.function(None, "cpu", node)


@pytest.mark.parametrize(("sign", "expected"), [(1, 1), (-1, 2)])
def test_torch_runs_on_one_or_all_cores(monkeypatch, sign, expected):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(program.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(program.Program, "_seconds", lambda _, count: sign * count)
    program.Program(lambda _, x: x + 1, {}, (np.ones(3),))()
    assert torch.get_num_threads() == expected


def test_torch_that_is_not_there_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(program.Missing, match="torch is not installed"):
        program.Program(lambda _, x: x + 1, {}, (np.ones(3),))
