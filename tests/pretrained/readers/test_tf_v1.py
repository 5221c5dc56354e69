import ml_dtypes
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import tf_slices, tf_v1
from tests.pretrained import tables

RNG = np.random.default_rng(0)
ARRAYS = {
    "net/weights": RNG.standard_normal((3, 3, 20, 40)).astype("<f4"),
    "net/weights/Momentum": RNG.standard_normal((3, 3, 20, 40)),
    "net/empty": np.zeros((0, 3), "<f4"),
    "net/half": RNG.standard_normal(5).astype("<f2"),
    "net/brain": RNG.standard_normal(5).astype(ml_dtypes.bfloat16),
    "net/flags": np.array([True, False, True]),
    "net/bytes": np.arange(7, dtype="u1"),
    "net/small": np.array([-3, 3], "i1"),
    "net/short": np.array([-300, 300], "<i2"),
    "net/ushort": np.array([65535, 3], "<u2"),
    "net/uint": np.array([2**32 - 1, 3], "<u4"),
    "net/wide": np.array([2**64 - 1], "<u8"),
    "global_step": np.array(-(2**40), "<i8"),
    "Größe": np.array([-1, 2], "<i4"),
}
SLICES = {"net/weights": [[None, None, None, (0, 30)], [None, None, None, (30, 10)]]}
WHOLE = tf_slices.Extent(0, None)


def check(checkpoint, arrays):
    assert list(checkpoint.entries) == sorted(arrays, key=str.encode)
    for name, expected in arrays.items():
        entry = checkpoint.entries[name]
        assert (entry.shape, entry.dtype) == (expected.shape, expected.dtype), name
        found = entry.read()
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), name
        assert found.tobytes() == expected.tobytes(), name


def refused(path):
    """Return the message with which a checkpoint is refused when all of it is read."""
    with pytest.raises(UserError) as raised:
        for entry in tf_v1.open(path).entries.values():
            entry.read()
    text = str(raised.value)
    assert text.isprintable() and str(path) in text and text.count("; ") >= 2
    return text


def written(tmp_path, kind, shape, tensor, parts=None, name="a"):
    """Write a checkpoint of one tensor from its parts, which may not fit."""
    path = tmp_path / "one.ckpt"
    parts = [[None] * len(shape)] if parts is None else parts
    listed = tables.field(1, tables.listing("a", kind, shape, parts))
    key = tf_slices.key("a", [WHOLE] * len(shape))
    record = (key, tables.saved(name, [None] * len(shape), tensor))
    tables.write_records(path, listed, [record])
    return path


def test_file_of_tensorflow_reads_back_exactly(shared):
    with np.load(shared("parity/tf_checkpoint_small/values.npz")) as values:
        expected = dict(values)
    path = shared("parity/tf_checkpoint_small/v1.ckpt")
    assert tf_v1.matches(path)
    check(tf_v1.open(path), expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"slices": SLICES},
        {"packed": False, "block_size": 100},
        {"block_size": 10**6},
        {"block_size": 10, "compress": tables.literal_snappy},
    ],
)
def test_what_is_written_reads_back(tmp_path, options):
    path = tmp_path / "model.ckpt"
    tables.write_v1(path, ARRAYS, **options)
    check(tf_v1.open(path), ARRAYS)


def test_tensors_are_found_in_any_order(tmp_path):
    tables.write_v1(tmp_path / "m", ARRAYS, block_size=200)
    entries = tf_v1.open(tmp_path / "m").entries
    for name in [*reversed(entries), *entries]:
        assert entries[name].read().tobytes() == ARRAYS[name].tobytes()


def test_content_as_bytes_is_read(tmp_path):
    values = np.arange(6, dtype="<i4").reshape(2, 3)
    path = written(tmp_path, 3, (2, 3), tables.field(4, values.tobytes()))
    check(tf_v1.open(path), {"a": values})


def test_last_number_stands_for_those_left_out(tmp_path):
    tensor = tables.tensor_proto(np.array([1, 2, 7], "<f4"))
    path = written(tmp_path, 1, (2, 3), tensor)
    expected = np.array([[1, 2, 7], [7, 7, 7]], "<f4")
    check(tf_v1.open(path), {"a": expected})


def test_tensor_of_strings_is_listed_and_leaves_the_others_readable(tmp_path):
    tables.write_v1(tmp_path / "m", ARRAYS, strings=["words"])
    entries = tf_v1.open(tmp_path / "m").entries
    assert entries["words"].dtype == object
    with pytest.raises(UserError, match="'words' holds strings; "):
        entries.pop("words").read()
    assert entries["global_step"].read() == -(2**40)


def test_other_files_do_not_match(tmp_path):
    tables.write_v2(tmp_path / "m", ARRAYS)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "short").write_bytes(b"\0\0")
    for name in ("m.index", "m.data-00000-of-00001", "text", "short", "gone", "."):
        assert not tf_v1.matches(tmp_path / name)


def test_cut_file_still_matches_and_is_refused(tmp_path):
    path = tmp_path / "m.ckpt"
    tables.write_v1(path, ARRAYS, block_size=500)
    data = path.read_bytes()
    for size in (20, 1000, len(data) // 2, len(data) - 40, len(data) - 1):
        path.write_bytes(data[:size])
        assert tf_v1.matches(path)
        refused(path)


def test_flipped_bytes_are_refused(tmp_path):
    path = tmp_path / "m.ckpt"
    tables.write_v1(path, {"a": ARRAYS["net/half"], "b": ARRAYS["net/weights"]})
    data = path.read_bytes()
    for at in (0, 30, 200, 5000, len(data) - 80):
        damaged = bytearray(data)
        damaged[at] ^= 4
        path.write_bytes(damaged)
        assert "checksum" in refused(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "m.ckpt"
    assert "there is no file" in refused(path)
    path.write_bytes(b"<html>" * 100)
    assert "no table ends" in refused(path)
    path.write_bytes(tables.table([(b"key", b"value")]))
    assert "no list of tensors" in refused(path)
    tables.write_v2(tmp_path / "two", ARRAYS)
    (tmp_path / "two.index").rename(path)
    refused(path)


HALF = tables.field(5, b"\0\0\0\0")


@pytest.mark.parametrize(
    "kind, shape, tensor, problem",
    [
        (1, (2,), b"", "none of its 2 numbers"),
        (1, (2,), tables.field(5, bytes(12)), "more than its 2 numbers"),
        (1, (2,), tables.field(5, b"\0" * 7), "no whole number"),
        (1, (2,), tables.field(4, b"\0" * 4), "4 bytes for 2 numbers"),
        (1, (2,), tables.field(4, b"\0" * 12), "12 bytes for 2 numbers"),
        (1, (2,), HALF + HALF, "more than one piece"),
        (3, (2,), tables.field(7, b"\x01" * 3), "3 numbers where at most 2"),
        (3, (2,), tables.field(7, b"\x81"), "stop inside one"),
        (1, (2,), tables.field(7, b"\x01\x01"), "none of its 2 numbers"),
        (1, (2**40,), HALF, "needs 4398046511104 bytes"),
        (1, (2**62, 2**62), HALF, "shape"),
        (1, (-1,), HALF, "shape [-1]"),
        (1, (10**7,), HALF, "needs 40000000 bytes"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path, kind, shape, tensor, problem):
    assert problem in refused(written(tmp_path, kind, shape, tensor))


@pytest.mark.parametrize(
    "parts, problem",
    [
        ([], "0 of 2 elements"),
        ([[(0, 1)]], "1 of 2 elements"),
        ([[(0, 1)], [(1, 1)]], "lacks its slice"),
        ([[(0, 2**63 - 1)]], "does not lie"),
        ([[None], [None]], "4 of 2 elements"),
    ],
)
def test_slices_that_do_not_fit_are_refused(tmp_path, parts, problem):
    assert problem in refused(written(tmp_path, 1, (2,), HALF, parts))


def test_value_of_another_tensor_is_refused(tmp_path):
    path = written(tmp_path, 1, (2,), HALF, name="other")
    assert "another tensor" in refused(path)


def test_many_small_tensors_that_would_grow_large_are_refused(tmp_path):
    path = tmp_path / "m"
    one = (1 << 20,)
    listed = b"".join(
        tables.field(1, tables.listing(f"t{i}", 1, one, [[None]])) for i in range(5)
    )
    records = [
        (tf_slices.key(f"t{i}", [WHOLE]), tables.saved(f"t{i}", [None], HALF))
        for i in range(5)
    ]
    tables.write_records(path, listed, records)
    assert "needs 4194304 bytes" in refused(path)


def test_name_that_stands_twice_is_refused(tmp_path):
    listed = tables.field(1, tables.listing("a", 1, (1,), [[None]])) * 2
    tables.write_records(tmp_path / "m", listed, [])
    assert "twice" in refused(tmp_path / "m")
