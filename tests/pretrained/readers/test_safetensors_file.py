import json
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import safetensors_file
from tests.pretrained import samples

NUMBERS = np.arange(3, dtype="<f4")
ABOUT = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}


def entries(path):
    return safetensors_file.open(path).entries


def raw(tmp_path, header, data=bytes(12)):
    """Write a file from its header, as a value or as bytes, and its numbers."""
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    path = tmp_path / "f.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def refusal(path):
    with pytest.raises(UserError) as error:
        for entry in entries(path).values():
            entry.read()
    message = str(error.value)
    assert str(path) in message and "\n" not in message
    return message


def test_what_the_package_writes_comes_back(tmp_path):
    path, arrays = tmp_path / "f", samples.arrays()
    safetensors.numpy.save_file(arrays, path, {"made by": "a test"})
    found = entries(path)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        value = found[name].read()
        assert value.dtype == found[name].dtype == array.dtype
        assert value.shape == found[name].shape == array.shape
        np.testing.assert_array_equal(value, array, name)
    assert safetensors_file.metadata(path) == {"made by": "a test"}


@pytest.mark.parametrize(
    "kind, name",
    [("BF16", "bfloat16"), ("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2")],
)
def test_short_floats_come_back(tmp_path, kind, name):
    numbers = NUMBERS.astype(getattr(ml_dtypes, name))
    about = {**ABOUT, "dtype": kind, "data_offsets": [0, numbers.nbytes]}
    found = entries(raw(tmp_path, {"a": about}, numbers.tobytes()))["a"]
    assert found.read().dtype == found.dtype == numbers.dtype
    np.testing.assert_array_equal(found.read(), numbers)


def test_an_unknown_type_is_refused_when_read(tmp_path):
    found = entries(raw(tmp_path, {"a": {**ABOUT, "dtype": "F6_E3M2"}}))["a"]
    assert found.dtype == object and found.shape == (3,)
    with pytest.raises(UserError, match="'a' holds the type 'F6_E3M2'"):
        found.read()


@pytest.mark.parametrize(
    "header, message",
    [
        ({"a": {**ABOUT, "shape": [4]}}, "needs 16 bytes where at most 12"),
        ({"a": {**ABOUT, "shape": [2]}}, "has 12 bytes for"),
        ({"a": {**ABOUT, "shape": [10**9, 10**9]}}, "needs"),
        ({"a": {**ABOUT, "shape": [-3]}}, "shape or place that is none"),
        ({"a": {**ABOUT, "shape": [3.0]}}, "shape or place that is none"),
        ({"a": {**ABOUT, "shape": [True]}}, "shape or place that is none"),
        ({"a": {**ABOUT, "shape": None}}, "shape or place that is none"),
        ({"a": {**ABOUT, "data_offsets": [0]}}, "shape or place that is none"),
        ({"a": {**ABOUT, "data_offsets": [12, 0]}}, "at bytes 12 to 0 of 12"),
        ({"a": {**ABOUT, "data_offsets": [0, 13]}}, "at bytes 0 to 13 of 12"),
        ({"a": {**ABOUT, "shape": [2], "data_offsets": [4, 12]}}, "gap at byte 0"),
        ({"a": {**ABOUT, "shape": [2], "data_offsets": [0, 8]}}, "have 8 bytes"),
        ({"a": ABOUT, "b": ABOUT}, "overlap"),
        ({}, "have 0 bytes, the file 12"),
        ({"a": 3}, "'a' is not described"),
        ({"a" * 5000: ABOUT}, "is not described"),
        (b'{"a": {}, "a": {}}', "says something twice"),
        (b"[" * 10_000, "is no JSON"),
        (b'{"a": ' * 10_000, "is no JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", "is no JSON"),
        (b"[]", "is not a dict"),
        (b"\xff", "is no JSON"),
        (b"", "is no JSON"),
        (b"{" * 300_000, "far too complicated"),
        (b'{"a": [' + b"[]," * 400_000 + b"1]}", "far too complicated"),
        (b'{"a": "' + "\U0001f600".encode() * 2_000_000, "complicated"),
    ],
)
def test_odd_headers_are_refused(tmp_path, header, message):
    assert message in refusal(raw(tmp_path, header))


@pytest.mark.parametrize("size", [10**6, 10**8 + 1, 2**63, 2**64 - 1])
def test_a_header_that_is_not_there_is_refused(tmp_path, size):
    path = raw(tmp_path, {"a": ABOUT})
    path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])
    assert f"header should have {size} bytes" in refusal(path)


def test_metadata_that_are_no_strings_are_refused(tmp_path):
    path = raw(tmp_path, {"a": ABOUT, "__metadata__": {"b": 3}})
    with pytest.raises(UserError, match="__metadata__ are not strings"):
        safetensors_file.metadata(path)
    assert list(entries(path)) == ["a"]


def test_every_cut_is_refused(tmp_path):
    path = raw(tmp_path, {"a": ABOUT})
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        refusal(path)
