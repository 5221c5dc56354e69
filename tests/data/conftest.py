"""Prepared folders that several tests read."""

from pathlib import Path

import pytest

from jaxseg.data import prepare
from tests.data import drawn


@pytest.fixture
def archive(tmp_path) -> Path:
    """Four videos of 12, 9, 7 and 5 frames: two in A, one each in B and C."""
    lengths = {"001": 12, "002": 9, "003": 7, "004": 5}
    lists = {"A": ["001", "002"], "B": ["003"], "C": ["004"]}
    return drawn.write_archive(tmp_path / "archive", lengths, lists)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A prepared set: A with runs of 40 and 25 frames, B with one of 10."""
    folder = tmp_path_factory.mktemp("data")
    lists = {"A": ["001", "002"], "B": ["003"]}
    drawn.write_archive(folder / "archive", {"001": 40, "002": 25, "003": 10}, lists)
    prepare.prepare(folder / "archive", folder / "prepared", image_format="png")
    return folder / "prepared"
