"""Claims about files that are written whole or not at all."""

import os

import pytest

from jaxseg.runtime import files


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    files.write_atomically(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError):
        files.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_replaces_a_file_by_the_new_content(tmp_path):
    files.write_atomically(tmp_path / "x", "a much longer text")
    files.write_atomically(tmp_path / "x", b"\x00b")
    assert (tmp_path / "x").read_bytes() == b"\x00b"
