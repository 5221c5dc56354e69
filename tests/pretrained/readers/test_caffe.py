import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import caffe
from tests.pretrained import caffe_writer
from tests.pretrained.tables import field

WEIGHTS = np.arange(24, dtype="<f4").reshape(2, 3, 2, 2)
BIAS = np.array([0.5, -1], "<f4")


def written(tmp_path, data):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    return path


def entries(tmp_path, data):
    return caffe.open(written(tmp_path, data)).entries


def refusal(tmp_path, data):
    path = written(tmp_path, data)
    with pytest.raises(UserError) as error:
        for entry in caffe.open(path).entries.values():
            entry.read()
    message = str(error.value)
    assert str(path) in message and "\n" not in message
    return message


def blob_layer(blob):
    """Return a net of one layer with a blob given as bytes."""
    return field(100, field(1, b"conv") + field(7, blob))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_blobs_come_back_by_layer_and_position(tmp_path, dtype, packed):
    weights, bias = WEIGHTS.astype(dtype), BIAS.astype(dtype)
    layers = {"conv1": [weights, bias], "relu1": [], "fc/6": [weights]}
    found = entries(tmp_path, caffe_writer.net(layers, packed=packed))
    assert list(found) == ["conv1/0", "conv1/1", "fc/6/0"]
    for name, array in (("conv1/0", weights), ("conv1/1", bias), ("fc/6/0", weights)):
        value = found[name].read()
        assert value.dtype == found[name].dtype == array.dtype
        assert value.shape == found[name].shape == array.shape
        np.testing.assert_array_equal(value, array)


def test_older_layers_have_blobs_of_four_dimensions(tmp_path):
    found = entries(tmp_path, caffe_writer.net({"conv1": [WEIGHTS, BIAS]}, old=True))
    np.testing.assert_array_equal(found["conv1/0"].read(), WEIGHTS)
    np.testing.assert_array_equal(found["conv1/1"].read(), BIAS.reshape(1, 1, 1, 2))


def test_numbers_are_views_of_the_file(tmp_path):
    value = entries(tmp_path, caffe_writer.net({"a": [WEIGHTS]}))["a/0"].read()
    assert not value.flags.owndata and not value.flags.writeable


def test_an_empty_blob_comes_back(tmp_path):
    found = entries(tmp_path, caffe_writer.net({"a": [WEIGHTS[:0]]}))
    assert found["a/0"].read().shape == (0, 3, 2, 2)


def test_sizes_of_a_shape_need_not_be_packed(tmp_path):
    shape = field(7, field(1, 1) + field(1, 2))
    found = entries(tmp_path, blob_layer(shape + field(5, BIAS.tobytes())))
    np.testing.assert_array_equal(found["conv/0"].read(), BIAS[None])


@pytest.mark.parametrize(
    "blob, message",
    [
        (field(7, field(1, 3)) + field(5, BIAS.tobytes()), "needs 12 bytes"),
        (field(7, field(1, 1)) + field(5, BIAS.tobytes()), "has 2 numbers for [1]"),
        (field(7, field(1, 1 << 40)) + field(5, BIAS.tobytes()), "needs"),
        (field(7, field(1, -2)) + field(5, BIAS.tobytes()), "has the shape [-2]"),
        (field(7, field(1, bytes([1] * 40))) + field(5, bytes(4)), "40 dimensions"),
        (field(7, field(1, bytes(600))) + field(5, bytes(4)), "too many dimensions"),
        (field(7, field(1, 1)) + field(5, bytes(5)), "no whole number"),
        (field(7, field(1, 1)) + field(5, 3), "wire type 0"),
        (field(7, 3), "wire type 0"),
        (field(1, b"a"), "bytes where it should have a number"),
        (field(5, BIAS.tobytes()), "has 2 numbers for [0, 0, 0, 0]"),
    ],
)
def test_odd_blobs_are_refused(tmp_path, blob, message):
    found = refusal(tmp_path, blob_layer(blob))
    assert message in found and "conv/0" in found


def test_two_layers_of_one_name_are_refused(tmp_path):
    data = caffe_writer.net({"a": [BIAS]})
    assert "two layers have the blob 'a/0'" in refusal(tmp_path, data * 2)


def test_a_net_without_weights_is_refused(tmp_path):
    data = caffe_writer.net({"relu": []})
    assert "no layer has weights" in refusal(tmp_path, data)
    assert caffe.matches(memoryview(data))


def test_odd_names_are_refused(tmp_path):
    for name, message in ((b"a" * 5000, "name of 5000 bytes"), (b"\xff", "UTF-8")):
        layer = field(100, field(1, name) + field(7, field(5, BIAS.tobytes())))
        assert message in refusal(tmp_path, layer)


def test_cuts_inside_a_layer_are_refused(tmp_path):
    data = caffe_writer.net({"a": [WEIGHTS, BIAS]})
    for size in range(12, len(data)):
        refusal(tmp_path, data[:size])


def test_only_nets_match():
    net = caffe_writer.net({"a": [BIAS]})
    assert caffe.matches(memoryview(net))
    assert caffe.matches(memoryview(caffe_writer.net({"a": [BIAS]}, old=True)))
    for other in (b"\x0a\x03abc", b"name: 'a'", b"\x08\x07", net[:-1], b"\x0a"):
        assert not caffe.matches(memoryview(other))
