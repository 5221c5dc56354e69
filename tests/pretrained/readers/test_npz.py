import io
import zipfile

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import npz
from tests.pretrained import samples

NUMBERS = np.arange(12, dtype="<f4").reshape(3, 4)


def entries(path):
    return npz.open(path).entries


def raw(path, header, data=b"", version=(1, 0), method=zipfile.ZIP_STORED):
    """Write an archive of one array from the bytes of its header and numbers."""
    if isinstance(header, str):
        header = header.encode("latin-1")
    size = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a.npy", npz.MAGIC + bytes(version) + size + header + data)
    return path


def refusal(path):
    with pytest.raises(UserError) as error:
        for entry in entries(path).values():
            entry.read()
    message = str(error.value)
    assert str(path) in message and "\n" not in message
    return message


def header(shape="(3, 4)", descr="'<f4'", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, save):
    arrays = {
        **samples.arrays(),
        "fortran": np.asfortranarray(NUMBERS),
        "big": NUMBERS.astype(">f4"),
        "complex": NUMBERS.astype("<c16"),
        "scope/name": NUMBERS[:, ::2],
        "one": NUMBERS[:1, 0],
    }
    save(tmp_path / "f.npz", **arrays)
    found = entries(tmp_path / "f.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        value = found[name].read()
        assert value.dtype == found[name].dtype == array.dtype.newbyteorder("=")
        assert value.shape == found[name].shape == array.shape
        np.testing.assert_array_equal(value, array, name)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize(
    "text",
    [
        header(),
        header("(3L, 4L)"),
        "{'shape':(3,4),'fortran_order':False,'descr':'<f4'}",
        '{"descr": "<f4", "fortran_order": False, "shape": (3, 4)}   \n',
    ],
)
def test_headers_of_other_writers_are_read(tmp_path, text, version):
    path = raw(tmp_path / "f", text, NUMBERS.tobytes(), version)
    np.testing.assert_array_equal(entries(path)["a"].read(), NUMBERS)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}], object),
        np.array(["text"]),
        np.array([b"text"]),
        np.array(["2020-01-01"], "M8[D]"),
    ],
)
def test_arrays_of_no_numbers_are_refused_when_read(tmp_path, array):
    path = tmp_path / "f.npz"
    np.savez(path, odd=array, good=NUMBERS)
    found = entries(path)
    np.testing.assert_array_equal(found["good"].read(), NUMBERS)
    assert found["odd"].dtype == object and found["odd"].shape == (1,)
    with pytest.raises(UserError, match="f.npz: 'odd.npy' holds NumPy's type"):
        found["odd"].read()


@pytest.mark.parametrize(
    "text, message",
    [
        (header("(3, 5)"), "needs 60 bytes where at most 48"),
        (header("(3, 3)"), "has 48 bytes for"),
        (header("(1000000000, 1000000000)"), "bytes where at most 48"),
        (header("(999999999999999999, 999999999999999999)"), "has the shape"),
        (header("(" + "1," * 40 + ")"), "40 dimensions"),
        (header("(3, -4)"), "its header has"),
        (header("3"), "its header has"),
        (header(descr="'<f16'"), "NumPy's type"),
        (header(descr="[('a', '<f4')]"), "its header has"),
        (header(descr="True"), "no plain array"),
        (header(order="1"), "its header has"),
        (header(order="__import__('os')"), "its header has"),
        ("{" * 10_000, "not a dict"),
        ("{'descr': " + "(" * 10_000 + "}", "its header has"),
        ("{'descr': '<f4'}", "its header has"),
        (header() * 2, "its header has"),
        ("{'descr': '<f4', 'descr': '<f4', 'shape': ()}", "its header has"),
        ("", "not a dict"),
        ("\xff", "not a dict"),
    ],
)
def test_odd_headers_are_refused(tmp_path, text, message):
    assert message in refusal(raw(tmp_path / "f", text, NUMBERS.tobytes()))


def test_a_header_longer_than_any_is_refused(tmp_path):
    path = raw(tmp_path / "f", header() + " " * 70_000, version=(2, 0))
    assert "header of 7" in refusal(path)


@pytest.mark.parametrize("size", [0, 5, 11, 13, 60])
def test_a_member_cut_in_its_header_is_refused(tmp_path, size):
    file = io.BytesIO()
    np.save(file, NUMBERS)
    with zipfile.ZipFile(tmp_path / "f", "w") as archive:
        archive.writestr("a.npy", file.getvalue()[:size])
    assert "a.npy" in refusal(tmp_path / "f")


def test_an_unknown_version_is_refused(tmp_path):
    path = raw(tmp_path / "f", header(), NUMBERS.tobytes(), (9, 0))
    assert "version 9" in refusal(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_cuts_are_refused(tmp_path, save):
    path = tmp_path / "f.npz"
    save(path, **samples.arrays())
    data = path.read_bytes()
    for part in range(16):
        path.write_bytes(data[: len(data) * part // 16])
        refusal(path)


def test_a_small_file_cannot_unpack_to_a_large_one(tmp_path):
    np.savez_compressed(tmp_path / "f.npz", a=np.zeros(80 << 20, np.uint8))
    assert "far more than the file" in refusal(tmp_path / "f.npz")
