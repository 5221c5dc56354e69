import csv
import sys

import numpy as np
import pytest

from jaxseg.cli import main
from jaxseg.evaluation import benchmark
from jaxseg.evaluation.torch_peer import program
from jaxseg.pretrained import catalogue


def run(capsys, *arguments):
    code = main.main(["benchmark", "inference", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_networks_are_those_of_the_catalogue():
    for name, part in benchmark.NETWORKS:
        assert part in catalogue.find(name).settings


def timed(capsys, out):
    """Return what is printed and the row of the table for a small network."""
    code, said, _ = run(
        capsys,
        *("--networks", "dvsnet:decision", "--size", 64),
        *("--repeats", 1, "--out", out),
    )
    assert code == 0 and "dvsnet" in said
    with open(out, newline="") as file:
        (row,) = csv.DictReader(file)
    return said, row


def test_both_forms_are_timed_and_agree(capsys, tmp_path):
    _, row = timed(capsys, tmp_path / "b.csv")
    times = float(row["plain_ms"]), float(row["ms"])
    assert float(row["ratio"]) == pytest.approx(times[0] / times[1], rel=1e-2)
    assert float(row["difference"]) <= benchmark.TOLERANCE
    assert int(row["parameters"]) == 4_538_485


def test_torch_is_timed_where_it_is_installed(capsys, tmp_path):
    pytest.importorskip("torch")
    said, row = timed(capsys, tmp_path / "b.csv")
    times = float(row["torch_ms"]), float(row["ms"])
    assert float(row["torch_ratio"]) == pytest.approx(times[0] / times[1], rel=1e-2)
    assert float(row["torch_cpu_ratio"]) > 0
    assert "without torch" not in said


def test_without_torch_its_columns_are_empty(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    said, row = timed(capsys, tmp_path / "b.csv")
    assert "without torch: torch is not installed" in said
    assert {row[c] for c in row if c.startswith("torch")} == {""}
    assert float(row["ms"]) > 0


def test_torch_that_disagrees_is_not_timed(capsys, tmp_path, monkeypatch):
    class Wrong:
        def __init__(self, *_):
            pass

        def arrays(self):
            return [np.full(1, 1e6)]

    monkeypatch.setattr(program, "Program", Wrong)
    said, row = timed(capsys, tmp_path / "b.csv")
    assert "without torch: its result differs by" in said
    assert row["torch_ms"] == row["torch_ratio"] == ""


def test_programs_take_turns():
    calls = []
    programs = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = benchmark._run_in_turns(programs, 3)
    assert calls == ["a", "b"] * 3
    assert seconds.keys() == {"a", "b"}
    assert all(x.wall > 0 and x.processor >= 0 for x in seconds.values())


def test_forms_that_disagree_are_refused(capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "_difference", lambda *_: float("nan"))
    code, _, error = run(capsys, "--networks", "dvsnet:decision", "--size", 64)
    assert code == 2 and "the forms of dvsnet:decision differ" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--networks", "vgg99:flow"), "no model 'vgg99'"),
        (("--networks", "fcn8s:flow"), "fcn8s has no part 'flow'"),
        (("--repeats", 0), "--repeats is 0; expected 1 or more"),
        (("--size", -1), "--size is -1; expected 0 or more"),
    ],
)
def test_mistakes_are_named(capsys, arguments, message):
    code, _, error = run(capsys, *arguments)
    assert code == 2 and message in error and error.count("\n") == 1
