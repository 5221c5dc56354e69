"""Models of ONNX: channels in front from end to end, weights outside."""

import numpy as np
import pytest

from jaxseg.benchmark.peers import peer
from jaxseg.benchmark.peers.onnx import axes, ops, program, writer
from tests.benchmark.peers import small


def test_axes_of_images_alone_are_laid_otherwise():
    image, matrix = np.zeros((1, 2, 3, 4)), np.zeros((5, 6))
    assert writer.along(image, image.shape) == [1, 4, 2, 3]
    assert writer.along(matrix, matrix.shape) == [5, 6]
    assert [writer.axis(image, i) for i in (0, 1, 2, 3, -1)] == [0, 2, 3, 1, 1]
    assert writer.axis(matrix, -1) == 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ((2, 4), (2, 1, 1, 4), True),
        ((1, 5, 1, 4), (5, 4), False),  # laid, the channels come first
        ((5, 4), (1, 5, 1, 4), False),
        ((1, 5, 1, 1), (5,), True),
        ((1, 5, 6, 4), (30, 4), False),
        ((2, 3, 4), (1, 2, 3, 1, 4), True),
    ],
)
def test_reshaping_keeps_the_order_of_axes_where_it_can(old, new, expected):
    assert axes._keeps_order(old, new) == expected


def written(net, *inputs):
    """Return a network as a program of onnxruntime, and its model."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folded = small.folded(net.apply, small.variables_of(net, *inputs), *inputs)
    model = ops.translate(onnx, folded)
    return program.Program(folded, inputs), model


def optimised(found, path):
    """Return what onnxruntime makes of a model, but for layouts of one processor."""
    onnx, runtime = map(pytest.importorskip, ("onnx", "onnxruntime"))
    options = found._options(1)
    levels = runtime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    runtime.InferenceSession(found._model, options, ["CPUExecutionProvider"])
    return onnx.load(path, load_external_data=False).graph.node


def ancestors(node, makers):
    """Return the operations that an operation depends on."""
    found, left = {}, list(node.input)
    while left:
        name = left.pop()
        if name in makers and name not in found:
            found[name] = makers[name]
            left += makers[name].input
    return found.values()


def between_convolutions(nodes):
    """Return the names of operations that lie between two convolutions."""
    makers = {name: node for node in nodes for name in node.output}

    def is_convolution(node):
        return "Conv" in node.op_type

    found = set()
    for node in filter(is_convolution, nodes):
        for before in ancestors(node, makers):
            if any(map(is_convolution, ancestors(before, makers))):
                found.add(before.op_type)
    return found


def assert_nothing_is_transposed(path, net, *inputs):
    found, model = written(net, *inputs)
    for nodes in (model.proto.graph.node, optimised(found, path / "model.onnx")):
        kinds = between_convolutions(nodes)
        assert "Transpose" not in kinds and any("Conv" in kind for kind in kinds)


@pytest.mark.parametrize("name", small.SEGMENTERS)
def test_no_image_is_transposed_between_convolutions_of_segmenters(name, tmp_path):
    assert_nothing_is_transposed(tmp_path, *small.segmenter(name))


# Halving, which Deep Feature Flow's head has, goes through six axes.
@pytest.mark.parametrize("name", sorted(small.FLOWS.keys() - {"Deep Feature Flow"}))
def test_no_image_is_transposed_between_convolutions_of_flow(name, tmp_path):
    pair = small.frames(65, 70), small.frames(65, 70)
    assert_nothing_is_transposed(tmp_path, small.FLOWS[name], *pair)


def test_weights_stay_outside_the_model():
    net, image = small.segmenter("FCN")
    _, model = written(net, image)
    assert len(model.proto.SerializeToString()) < 40_000
    inline = [x for x in model.proto.graph.initializer if x.raw_data]
    assert sum(x.ByteSize() for x in inline) < 8_000
    assert sum(x.size for x in model.weights.values()) > 20_000


def test_what_onnxruntime_refuses_is_missing_with_its_words(monkeypatch):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")

    def refuse(*_, **__):
        raise RuntimeError("no\n  room")

    monkeypatch.setattr(runtime, "InferenceSession", refuse)
    x = np.ones(3, np.float32)
    with pytest.raises(peer.Missing, match="onnxruntime says: no room"):
        program.Program(small.folded(lambda _, x: x + 1, {}, x), (x,))
