"""Claims about arrays on disk: whole and checked, or an error that says what to do."""

import errno
import os

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.runtime import shards

SHAPE = (7, 3, 2)


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 2**16, SHAPE).astype(np.uint16)


@pytest.fixture
def path(tmp_path, array):
    shards.write(tmp_path / "new" / "x.npy", array)
    return tmp_path / "new" / "x.npy"


def read(path, **options):
    return shards.read(path, SHAPE, np.dtype(np.uint16), **options)


def test_an_array_is_mapped_and_nothing_else_is_written(path, array):
    found = read(path)
    assert isinstance(found, np.memmap) and not found.flags.writeable
    np.testing.assert_array_equal(found, array)
    assert [p.name for p in path.parent.iterdir()] == ["x.npy"]
    np.testing.assert_array_equal(np.load(path), array)  # plain for other readers


def test_any_damage_is_named_with_its_remedy(path):
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    damaged = [whole[:n] for n in range(0, len(whole), 9)] + [whole + b"0"]
    for place in rng.integers(0, len(whole), 60):
        damaged.append(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"x\.npy cannot be read .*delete the file"):
            read(path)


def test_truncation_is_found_without_reading_it_all(path):
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="3 bytes behind the array instead of 4"):
        read(path, check=False)


def test_another_array_is_refused(path, tmp_path, array):
    for other in (array[1:], array.astype(np.float32), np.array(3)):
        shards.write(path, other)
        with pytest.raises(UserError, match="instead of uint16"):
            read(path)
    with open(path, "wb") as file:
        np.savez(file, a=array)
    with pytest.raises(UserError, match=r"x\.npy cannot be read"):
        read(path)
    with pytest.raises(UserError, match="missing.npy cannot be read"):
        read(tmp_path / "missing.npy")


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), UserError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_an_interrupted_write_leaves_nothing(
    tmp_path, array, monkeypatch, fault, raised
):
    def fail(_):
        raise fault

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(raised, match="No space left" if raised is UserError else None):
        shards.write(tmp_path / "x.npy", array)
    assert not list(tmp_path.iterdir())
