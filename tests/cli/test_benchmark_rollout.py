"""The benchmarks of rollouts and gradients, at their smallest sizes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from jaxseg.benchmark import rollout, training, turns
from jaxseg.cli import main
from jaxseg.errors import UserError


def run(capsys, *arguments):
    code = main.main(["benchmark", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def clock(monkeypatch):
    """Run every program, and say that it took a known time."""
    took = {"ours": 2.0, "plain": 4.0, "vmap over episodes": 5.0}

    def run(programs, repeats):
        for program in programs.values():
            program()
        return {x: turns.Seconds(took.get(x, 6.0), np.nan) for x in programs}

    monkeypatch.setattr(turns, "run", run)


def test_rollouts_agree_and_are_timed(capsys, tmp_path, thin, clock):
    out = tmp_path / "rollout.jsonl"
    sizes = {"size": 33, "frames": 8, "trials": 2, "episodes": 2, "policies": 2}
    flags = [x for name, value in sizes.items() for x in (f"--{name}", value)]
    code, said, _ = run(capsys, "rollout", *flags, "--json", out)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert code == 0 and all(line["case"] in said for line in lines)
    assert [line["case"] for line in lines] == [
        *("late", "late, undecided", "early"),
        *("population, alike", "population, apart", "folded", "folded"),
    ]
    seconds = [line["seconds"] for line in lines]
    assert [line["ratio"] * s for line, s in zip(lines, seconds, strict=True)] == [
        pytest.approx(s) for s in (4.0, 4.0, 4.0, 6.0, 6.0, 5.0, 6.0)
    ]
    assert seconds == [2.0] * 7
    for line in lines:
        facts = line["facts"]
        # Trials share at least what they all see at the first frame.
        most = facts["trials"] * (facts["frames"] - 1) * facts.get("policies", 1)
        assert 0 < facts["distinct_pairs"] < most * facts.get("episodes", 1)
    assert [line["facts"]["frames"] for line in lines] == [8] * 5 + [4] * 2
    # Of two policies, twice 2 seconds over 6, by their pairs.
    facts = lines[3]["facts"]
    more = facts["distinct_pairs"] / facts["pairs_of_one"]
    assert facts["time_over_pairs"] == pytest.approx(2 * 2.0 / 6.0 / more)


def test_gradients_agree_and_are_timed(capsys, tmp_path, thin, monkeypatch):
    monkeypatch.setattr(training, "_SHAPE", (2, 3, 4))
    out = tmp_path / "training.jsonl"
    flags = ("--frames", 12, "--trials", 4, "--repeats", 1, "--json", out)
    code, _, _ = run(capsys, "train", *flags)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert code == 0 and len(lines) == 3
    for line in lines:
        facts = line["facts"]
        assert facts["sharing"] == facts["decisions"] / facts["distinct_pairs"] >= 1
        assert line["difference"] <= training.TOLERANCE


def test_gradients_that_disagree_are_refused():
    fine = {"a": np.ones(2), "b": np.array([3.0, 4.0])}
    assert training.check("late", fine, fine) == 0.0
    for wrong in (np.array([3.0, 4.1]), np.array([np.nan, 4.0])):
        with pytest.raises(UserError, match="the gradients of the case late differ"):
            training.check("late", {**fine, "b": wrong}, fine)


def test_rollouts_that_disagree_are_refused():
    trials = SimpleNamespace(
        valid=np.array([True, True, False]),
        action=np.array([True, False, False]),
        reward=np.array([0.1, 0.0, 0.0]),
    )
    assert rollout.check("late", trials, trials) == 0.0
    # What happens after the end of a trial means nothing.
    late = SimpleNamespace(
        **{**vars(trials), "action": ~np.array([False, True, False])}
    )
    assert rollout.check("late", late, trials) == 0.0
    changes = {
        "action": (np.array([True, True, False]), "in their decisions"),
        "valid": (np.array([True, False, False]), "in their decisions"),
        "reward": (np.array([0.1, 0.0, np.nan]), "by nan in a reward"),
    }
    for name, (value, message) in changes.items():
        wrong = SimpleNamespace(**{**vars(trials), name: value})
        with pytest.raises(UserError, match=message):
            rollout.check("late", wrong, trials)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rollout", "--size", 8), "--size is 8; expected 32 or more"),
        (("train", "--trials", 0), "--trials is 0; expected 1 or more"),
    ],
)
def test_mistakes_are_named(capsys, arguments, message):
    code, _, error = run(capsys, *arguments)
    assert code == 2 and message in error
