import csv

import pytest

from jaxseg.cli import main
from jaxseg.evaluation import benchmark
from jaxseg.pretrained import catalogue


def run(capsys, *arguments):
    code = main.main(["benchmark", "inference", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_networks_are_those_of_the_catalogue():
    for name, part in benchmark.NETWORKS:
        assert part in catalogue.find(name).settings


def test_both_forms_are_timed_and_agree(capsys, tmp_path):
    out = tmp_path / "b.csv"
    name = "dvsnet:decision"
    code, said, _ = run(
        capsys, "--networks", name, "--size", 64, "--repeats", 1, "--out", out
    )
    assert code == 0 and "dvsnet" in said
    with open(out, newline="") as file:
        (row,) = csv.DictReader(file)
    times = float(row["plain_ms"]), float(row["ms"])
    assert float(row["ratio"]) == pytest.approx(times[0] / times[1], rel=1e-2)
    assert float(row["difference"]) <= benchmark.TOLERANCE
    assert int(row["parameters"]) == 4_538_485


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
