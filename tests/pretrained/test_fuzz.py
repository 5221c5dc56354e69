"""Damaged checkpoints are read or refused, never worse: a small run of the fuzzer."""

import collections
import random

import pytest

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import open as opening
from jaxseg.pretrained.readers import tf_v2
from jaxseg.runtime import weights
from tests.pretrained import fuzz


@pytest.mark.parametrize("name", sorted(fuzz.FORMATS))
def test_no_mutant_does_worse_than_be_refused(name):
    found = collections.Counter(r.outcome for r in fuzz.run(name, 0, range(300)))
    assert found["read"] + found["refused"] == 300, found
    assert found["refused"] > 100


@pytest.mark.parametrize("name", sorted(fuzz.FORMATS))
def test_no_mutant_does_worse_than_be_refused_by_the_conversion(name):
    results = fuzz.run(name, 0, range(60), converting=True)
    found = collections.Counter(r.outcome for r in results)
    assert found["read"] + found["refused"] == 60, found
    assert found["refused"] > 20


def test_mutants_differ_from_the_sample_and_depend_on_the_seed():
    sample = bytes(range(256)) * 4
    mutants = [fuzz.mutate(random.Random(i), sample) for i in range(200)]
    assert mutants == [fuzz.mutate(random.Random(i), sample) for i in range(200)]
    assert sum(m != sample for m in mutants) > 180
    assert len({len(m) for m in mutants}) > 50
    fuzz.mutate(random.Random(0), b"")


def test_a_reader_that_fails_is_found_out(monkeypatch):
    opened, real = [], tf_v2.open

    def broken(path):
        opened.append(path)
        if len(opened) == 3:
            raise KeyError("a mistake")
        if len(opened) == 4:
            raise UserError("two\nlines")
        return real(path)

    monkeypatch.setattr(tf_v2, "open", broken)
    outcomes = [r.outcome for r in fuzz.run("tf_v2", 0, range(4))]
    assert outcomes[1] == "FAILED KeyError: 'a mistake'"
    assert outcomes[2].startswith("FAILED message")
    assert not any(o.startswith("FAILED") for o in outcomes[::3])


def test_what_a_conversion_leaves_behind_is_found_out(monkeypatch):
    real, written = weights.save_weights, []

    def careless(path, variables, metadata):
        written.append(path)
        real(path, variables, metadata)
        if len(written) == 2:
            path.with_name(".model.safetensors.tmp").write_bytes(b"half")
        if len(written) == 3:
            raise UserError(f"{path}, of {checkpoint[0]}: no")
        if len(written) == 4:
            path.write_bytes(b"half")

    checkpoint = []
    opened = opening.open_checkpoint
    monkeypatch.setattr(
        opening,
        "open_checkpoint",
        lambda path: checkpoint.insert(0, path) or opened(path),
    )
    monkeypatch.setattr(weights, "save_weights", careless)
    monkeypatch.setattr(fuzz, "mutate", lambda rng, data: data)
    whole = fuzz.FORMATS["npz"]._replace(inside=None)
    monkeypatch.setitem(fuzz.FORMATS, "npz", whole)
    results = fuzz.run("npz", 0, range(4), converting=True)
    outcomes = [r.outcome for r in results]
    assert outcomes[0].startswith("FAILED read and left .model.safetensors.tmp")
    assert outcomes[1] == "FAILED refused and left model.safetensors"
    assert outcomes[2].startswith("FAILED model file")
    assert outcomes[3] == "read"
