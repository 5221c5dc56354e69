import re

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.evaluation import arrays


def test_round_trip_makes_the_folders(tmp_path):
    path = tmp_path / "new" / "folder" / "file.npz"
    written = {"a": np.arange(3), "b|c": np.eye(2)}
    arrays.write(path, written)
    found = arrays.read(path, dict, "arrays")
    assert found.keys() == written.keys()
    for name, value in written.items():
        np.testing.assert_array_equal(found[name], value)
    assert [file.name for file in path.parent.iterdir()] == ["file.npz"]


def test_damaged_files_are_named(tmp_path):
    whole = tmp_path / "whole.npz"
    arrays.write(whole, {"a": np.arange(100)})
    data = whole.read_bytes()
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 255
    for content in (b"", b"text", data[: len(data) // 2], bytes(damaged)):
        path = tmp_path / "broken.npz"
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{re.escape(str(path))} cannot be read"):
            arrays.read(path, lambda found: found["a"], "numbers")


def test_a_missing_array_is_named(tmp_path):
    arrays.write(tmp_path / "x.npz", {"a": np.arange(3)})
    with pytest.raises(UserError, match="KeyError: 'b'.*expected numbers that jaxseg"):
        arrays.read(tmp_path / "x.npz", lambda found: found["b"], "numbers")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="x.npz: cannot be written"):
        arrays.write(tmp_path / "file" / "x.npz", {"a": np.arange(3)})
