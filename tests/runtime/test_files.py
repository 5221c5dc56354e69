"""Claims about files that are written whole or not at all."""

import errno
import os
import subprocess
import sys

import pytest

from jaxseg.errors import UserError
from jaxseg.runtime import files


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    files.write_atomically(path, "old")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(full))
    with pytest.raises(UserError, match=r"x\.json: cannot be written \(No space left"):
        files.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_replaces_a_file_by_the_new_content(tmp_path):
    files.write_atomically(tmp_path / "x", "a much longer text")
    files.write_atomically(tmp_path / "x", b"\x00b")
    assert (tmp_path / "x").read_bytes() == b"\x00b"


def test_a_lock_keeps_other_processes_out_until_they_end(tmp_path):
    program = (
        "import sys\nfrom jaxseg.runtime import files\n"
        "with files.locked(sys.argv[1], 'busy'):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "x")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="^busy$"):
            with files.locked(tmp_path / "x", "busy"):
                pass
        other.kill()
    for _ in range(2):
        with files.locked(tmp_path / "x", "busy"):
            assert (tmp_path / "x").exists()
    assert not list(tmp_path.iterdir())


def test_a_lock_on_a_file_that_was_just_removed_is_not_enough(tmp_path, monkeypatch):
    path, opened = tmp_path / "x", []
    lock = files.fcntl.flock

    def removed_before(file, how):
        opened.append(file)
        if len(opened) == 1:
            path.unlink()  # as the holder does who lets go between open and flock
        lock(file, how)

    monkeypatch.setattr(files.fcntl, "flock", removed_before)
    with files.locked(path, "busy"):
        monkeypatch.undo()
        with pytest.raises(UserError, match="busy"):
            with files.locked(path, "busy"):
                pass
    assert len(opened) == 2


def test_a_lock_in_a_place_that_cannot_be_written_names_it(tmp_path):
    with pytest.raises(UserError, match="nowhere/x: cannot be written"):
        with files.locked(tmp_path / "nowhere" / "x", "busy"):
            pass
