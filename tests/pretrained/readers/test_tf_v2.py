import ml_dtypes
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import crc32c, tf_v2
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
    "net/wide": np.array([2**64 - 1], "<u8"),
    "global_step": np.array(-(2**40), "<i8"),
    "Größe": np.array([1, 2], "<i4"),
}
SLICES = {"net/weights": [[None, None, None, (0, 30)], [None, None, None, (30, 10)]]}


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
        for entry in tf_v2.open(path).entries.values():
            entry.read()
    text = str(raised.value)
    assert text.isprintable() and text.count("; ") >= 2
    return text


@pytest.mark.parametrize("name", ["v2.ckpt", "sharded.ckpt"])
def test_file_of_tensorflow_reads_back_exactly(shared, name):
    index = shared(f"parity/tf_checkpoint_small/{name}.index")
    with np.load(shared("parity/tf_checkpoint_small/values.npz")) as values:
        expected = dict(values)
    check(tf_v2.open(index.with_suffix("")), expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shards": 3},
        {"slices": SLICES, "shards": 2},
        {"block_size": 100, "compress": tables.literal_snappy},
    ],
)
def test_what_is_written_reads_back(tmp_path, options):
    tables.write_v2(tmp_path / "model.ckpt", ARRAYS, **options)
    check(tf_v2.open(tmp_path / "model.ckpt"), ARRAYS)


@pytest.mark.parametrize("end", ["", ".index", ".data-00001-of-00002"])
def test_any_file_of_it_opens_it(tmp_path, end):
    prefix = tmp_path / "model.ckpt-1200"
    tables.write_v2(prefix, ARRAYS, shards=2)
    path = f"{prefix}{end}"
    assert tf_v2.matches(path)
    checkpoint = tf_v2.open(path)
    assert checkpoint.path == prefix and checkpoint.format == "TensorFlow V2"
    check(checkpoint, ARRAYS)


def test_other_paths_do_not_match(tmp_path):
    other = tmp_path / "weights.npz"
    other.write_bytes(b"PK")
    (tmp_path / "weights.npz.index").write_bytes(b"")
    for path in (other, tmp_path, tmp_path / "gone", tmp_path / "gone.index", "/", "."):
        assert not tf_v2.matches(path)


def test_tensor_of_strings_is_listed_and_leaves_the_others_readable(tmp_path):
    prefix = tmp_path / "m"
    tables.write_v2(prefix, ARRAYS, strings=["words"])
    entries = tf_v2.open(prefix).entries
    assert entries["words"].dtype == object
    with pytest.raises(UserError, match="m.index: 'words' holds strings; "):
        entries.pop("words").read()
    assert entries["global_step"].read() == -(2**40)


def test_booleans_are_zero_or_one(tmp_path):
    raw = b"\x02\x00\xff"
    place = (0, 0, 3, crc32c.mask(crc32c.crc32c(raw)))
    records = [(b"", tables.header()), (b"flags", tables.entry(10, (3,), *place))]
    tables.write_parts(tmp_path / "m", records, [raw])
    flags = tf_v2.open(tmp_path / "m").entries["flags"].read()
    assert flags.tobytes() == b"\x01\x00\x01"


def test_missing_files_are_named(tmp_path):
    prefix = tmp_path / "m"
    assert f"no file {prefix}.index" in refused(prefix)
    tables.write_v2(prefix, ARRAYS, shards=2)
    (tmp_path / "m.data-00001-of-00002").unlink()
    assert f"no file {prefix}.data-00001-of-00002" in refused(prefix)


def test_cut_files_are_named(tmp_path):
    for name in ("m.index", "m.data-00000-of-00002", "m.data-00001-of-00002"):
        tables.write_v2(tmp_path / "m", ARRAYS, shards=2)
        data = (tmp_path / name).read_bytes()
        for size in (0, 1, 50, len(data) // 2, len(data) - 1):
            (tmp_path / name).write_bytes(data[:size])
            assert str(tmp_path / name) in refused(tmp_path / "m")


def test_file_cut_after_it_was_opened_is_named(tmp_path):
    tables.write_v2(tmp_path / "m", ARRAYS)
    entries = tf_v2.open(tmp_path / "m").entries
    file = tmp_path / "m.data-00000-of-00001"
    file.write_bytes(b"")
    with pytest.raises(UserError, match=str(file)):
        entries["net/weights"].read()


def test_flipped_byte_names_the_tensor_and_the_file(tmp_path):
    tables.write_v2(tmp_path / "m", {"a": ARRAYS["net/half"], "b": ARRAYS["net/bytes"]})
    file = tmp_path / "m.data-00000-of-00001"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    entries = tf_v2.open(tmp_path / "m").entries
    assert entries["a"].read().shape == (5,)
    with pytest.raises(UserError, match=f"{file} .*'b' at byte 10 fails its checksum"):
        entries["b"].read()


def test_foreign_index_is_refused(tmp_path):
    (tmp_path / "m.index").write_bytes(b"<html>" * 100)
    assert "no table ends" in refused(tmp_path / "m")
    (tmp_path / "m.index").write_bytes(tables.table([(b"key", b"value")]))
    assert "no header" in refused(tmp_path / "m")
    (tmp_path / "m.index").write_bytes(tables.table([]))
    assert "no records" in refused(tmp_path / "m")


@pytest.mark.parametrize(
    "header, problem",
    [
        (tables.header(endianness=1), "big-endian"),
        (tables.header(shards=0), "0 data files"),
        (tables.header(shards=2**40), "data files"),
        (tables.header(consumer=2), "version 2"),
    ],
)
def test_header_that_is_not_for_us_is_refused(tmp_path, header, problem):
    tables.write_parts(tmp_path / "m", [(b"", header)], [b""])
    assert problem in refused(tmp_path / "m")


A = (0, 0, 8)  # shard, offset, size
DATA = tables.entry(1, (2,), *A)


@pytest.mark.parametrize(
    "entries, problem",
    [
        ([tables.entry(1, (1,), *A)], "its shape [1] 4"),
        ([tables.entry(1, (2**62, 4), *A)], "shape"),
        ([tables.entry(1, (2**33,), 0, 0, 2**35)], "ends at 34359738368"),
        ([tables.entry(1, (2,), 0, 2**63, 8)], "ends at"),
        ([tables.entry(1, (2,), 1, 0, 8)], "data file 1 of 1"),
        ([tables.entry(1, (1,) * 33, *A)], "dimensions"),
        ([tables.entry(1, (-2,), *A)], "shape [-2]"),
        ([tables.entry(1, (2,), *A)] * 2, "shares its bytes"),
        ([tables.entry(1, (2,), *A)], "fails its checksum"),
        ([tables.entry(1, (4,), slices=[[(0, 2)], [(2, 2)]])], "needs 16 bytes"),
        ([tables.entry(1, (2,), slices=[[(0, 1)]]), DATA], "1 of 2 elements"),
        ([tables.entry(1, (2,), slices=[[(0, 1)], [(1, 1)]]), DATA], "lacks its slice"),
    ],
)
def test_entry_that_lies_is_refused(tmp_path, entries, problem):
    records = [(b"name%d" % i, entry) for i, entry in enumerate(entries)]
    tables.write_parts(tmp_path / "m", [(b"", tables.header()), *records], [bytes(8)])
    assert problem in refused(tmp_path / "m")


def test_slice_that_is_of_another_type_is_refused(tmp_path):
    prefix = tmp_path / "m"
    tables.write_v2(prefix, ARRAYS, SLICES)
    records = tables.records_of((tmp_path / "m.index").read_bytes())
    data = (tmp_path / "m.data-00000-of-00001").read_bytes()
    at = next(i for i, (key, _) in enumerate(records) if key.startswith(b"\0net/"))
    assert records[at][1].startswith(b"\x08\x01")
    records[at] = records[at][0], b"\x08\x03" + records[at][1][2:]
    tables.write_parts(prefix, records, [data])
    assert "'net/weights' lacks its slice" in refused(prefix)


def test_name_that_is_not_text_is_refused(tmp_path):
    records = [(b"", tables.header()), (b"\xff", tables.entry(1, (0,)))]
    tables.write_parts(tmp_path / "m", records, [b""])
    assert "codec" in refused(tmp_path / "m")
