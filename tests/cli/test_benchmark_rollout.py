"""The benchmarks of rollouts and gradients, at their smallest sizes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from jaxseg.benchmark import rollout, training
from jaxseg.cli import main
from jaxseg.errors import UserError


def run(capsys, *arguments):
    code = main.main(["benchmark", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_rollouts_agree_and_are_timed(capsys, tmp_path):
    out = tmp_path / "rollout.jsonl"
    sizes = {"size": 33, "frames": 8, "trials": 3, "episodes": 2, "policies": 2}
    flags = [x for name, value in sizes.items() for x in (f"--{name}", value)]
    code, said, _ = run(capsys, "rollout", *flags, "--json", out)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert code == 0 and all(line["case"] in said for line in lines)
    assert [line["case"] for line in lines] == [
        *("late", "late, undecided", "early", "population", "folded", "folded"),
    ]
    for line in lines:
        assert line["ratio"] > 0 and line["difference"] <= rollout.REWARD_TOLERANCE
        assert line["facts"]["distinct_pairs"] > 0
    plain = lines[0]["facts"]["plain_seconds"] / lines[0]["seconds"]
    assert lines[0]["ratio"] == pytest.approx(plain, rel=1e-6)


def test_gradients_agree_and_are_timed(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_SHAPE", (2, 3, 4))
    out = tmp_path / "training.jsonl"
    flags = ("--frames", 12, "--trials", 4, "--repeats", 1, "--json", out)
    code, _, _ = run(capsys, "training", *flags)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert code == 0 and len(lines) == 3
    for line in lines:
        facts = line["facts"]
        assert facts["sharing"] == facts["decisions"] / facts["distinct_pairs"] >= 1
        assert line["difference"] <= training.TOLERANCE


def test_gradients_that_disagree_are_refused():
    fine = {"a": np.ones(2), "b": np.array([3.0, 4.0])}
    assert training._check("late", fine, fine) == 0.0
    for wrong in (np.array([3.0, 4.1]), np.array([np.nan, 4.0])):
        with pytest.raises(UserError, match="the gradients of the case late differ"):
            training._check("late", {**fine, "b": wrong}, fine)


def test_rollouts_that_disagree_are_refused():
    trials = SimpleNamespace(
        valid=np.array([True, True, False]),
        action=np.array([True, False, False]),
        reward=np.array([0.1, 0.0, 0.0]),
    )
    assert rollout._check("late", trials, trials) == 0.0
    # What happens after the end of a trial means nothing.
    late = SimpleNamespace(
        **{**vars(trials), "action": ~np.array([False, True, False])}
    )
    assert rollout._check("late", late, trials) == 0.0
    changes = {
        "action": (np.array([True, True, False]), "in their decisions"),
        "valid": (np.array([True, False, False]), "in their decisions"),
        "reward": (np.array([0.1, 0.0, np.nan]), "by nan in a reward"),
    }
    for name, (value, message) in changes.items():
        wrong = SimpleNamespace(**{**vars(trials), name: value})
        with pytest.raises(UserError, match=message):
            rollout._check("late", wrong, trials)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rollout", "--size", 8), "--size is 8; expected 32 or more"),
        (("training", "--trials", 0), "--trials is 0; expected 1 or more"),
    ],
)
def test_mistakes_are_named(capsys, arguments, message):
    code, _, error = run(capsys, *arguments)
    assert code == 2 and message in error
