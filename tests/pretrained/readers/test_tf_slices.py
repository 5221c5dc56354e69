import numpy as np
import pytest

from jaxseg.pretrained.readers import tf_slices
from jaxseg.pretrained.readers.entries import Malformed
from tests.pretrained import tables

FULL = tf_slices.Extent(0, None)


def test_key_is_the_one_that_tensorflow_wrote():
    # From a file of TensorFlow's Saver: a tensor of four dimensions, stored whole.
    expected = b"\x00/Momentum\x00\x01\x01\x04" + b"\x80\x7f" * 4
    assert tf_slices.key("/Momentum", [FULL] * 4) == expected


def test_keys_sort_as_names_then_starts_then_lengths():
    numbers = [0, 1, 63, 64, 65, 8191, 8192, 2**20, 2**34, 2**41, 2**55, 2**62]
    starts = [tf_slices.key("a", [tf_slices.Extent(n, 1)]) for n in numbers]
    lengths = [tf_slices.key("a", [tf_slices.Extent(0, n)]) for n in numbers]
    names = [tf_slices.key(n, [FULL]) for n in ("", "a", "a\0", "a\x01", "aa", "b")]
    for keys in (starts, lengths, names):
        assert keys == sorted(keys) and len(set(keys)) == len(keys)


def test_message_of_a_slice_is_parsed():
    message = tables.slice_proto([None, (3, 4), (0, 0)])
    expected = (FULL, tf_slices.Extent(3, 4), tf_slices.Extent(0, 0))
    assert tf_slices.parse(message) == expected


def test_message_of_a_shape_is_parsed():
    assert tf_slices.shape(memoryview(tables.shape_proto((3, 0, 5)))) == (3, 0, 5)
    assert tf_slices.shape(memoryview(b"")) == ()
    # A size of nothing is not written.
    assert tf_slices.shape(memoryview(b"\x12\x00")) == (0,)


@pytest.mark.parametrize(
    "message", [b"\x18\x01", tables.shape_proto([1] * 33), b"\x12\x02\x0a\x00"]
)
def test_shape_without_sense_is_refused(message):
    with pytest.raises(Malformed):
        tf_slices.shape(memoryview(message))


WHOLE = np.arange(24).reshape(4, 6)


def joined(parts, full=(4, 6)):
    def read(extents, shape):
        where = tuple(slice(s, s + n) for s, n in tf_slices.bounds(extents, (4, 6)))
        assert WHOLE[where].shape == shape
        return WHOLE[where]

    slices = [tables.slice_proto(part) for part in parts]
    return tf_slices.join(full, WHOLE.dtype, slices, read)


@pytest.mark.parametrize(
    "parts",
    [
        [[None, None]],
        [[(0, 4), (0, 6)]],
        [[(0, 1), None], [(1, 3), None]],
        [[(2, 2), None], [(0, 2), (5, 1)], [(0, 2), (0, 5)]],
        [[(0, 0), None], [(0, 4), None]],
    ],
)
def test_slices_make_the_whole(parts):
    np.testing.assert_array_equal(joined(parts), WHOLE)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [[(0, 3), None]],  # leaves out a row
        [[None, None], [None, None]],  # twice
        [[(0, 2), None], [(1, 2), None]],  # as many elements as there are, one twice
        [[(0, 5), None]],  # beyond the end
        [[(-1, 5), None]],
        [[(2**62, 2**62), None]],
        [[None]],
    ],
)
def test_slices_that_do_not_cover_it_once_are_refused(parts):
    with pytest.raises(Malformed):
        joined(parts)


def test_huge_tensor_is_refused_before_it_takes_memory():
    with pytest.raises(Malformed, match="elements"):
        joined([[(0, 2), None]], full=(2**40, 2**20))
