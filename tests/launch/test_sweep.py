"""Claims about sweeps, with a stand-in for the training program."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from launch import sweep

SWEEP = """
CONFIG = "configs/policy.py:synthetic"

def sweep(add):
    for eta in (0.06, 0.1):
        add(**{"policy.eta": eta, "seed": 1})
"""


@pytest.fixture
def sweep_file(tmp_path):
    path = tmp_path / "eta.py"
    path.write_text(SWEEP)
    return str(path)


def _main(sweep_file, out, *more):
    return sweep.main([f"--sweep={sweep_file}", f"--out={out}", *more])


@pytest.fixture
def started(monkeypatch):
    """Record commands instead of running them; eta=0.06 fails the first time."""
    calls = []

    def run(argv, check):
        calls.append(argv)
        folder = Path(argv[-1].removeprefix("--run="))
        failed = "--config.policy.eta=0.06" in argv and len(calls) == 1
        if not failed:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "DONE").write_text("")
        return subprocess.CompletedProcess(argv, int(failed))

    monkeypatch.setattr(sweep.subprocess, "run", run)
    return calls


def test_dry_run_prints_the_very_commands_and_writes_nothing(
    sweep_file, tmp_path, started, capsys
):
    assert _main(sweep_file, tmp_path / "out", "--dry_run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert not (tmp_path / "out").exists() and not started
    _main(sweep_file, tmp_path / "out")
    assert [shlex.split(line) for line in lines] == started
    assert started[0][1:] == [
        "-m",
        "jaxseg.cli.main",
        "train",
        "--config=configs/policy.py:synthetic",
        "--config.policy.eta=0.06",
        "--config.seed=1",
        f"--run={tmp_path / 'out' / 'eta=0.06-seed=1'}",
    ]


def test_goes_on_after_a_failure_and_leaves_it_to_the_program_what_is_done(
    sweep_file, tmp_path, started, capsys
):
    assert _main(sweep_file, tmp_path / "out") == 1
    table = capsys.readouterr().out.splitlines()[-2:]
    assert table[0].split(maxsplit=1) == ["eta=0.06-seed=1", "failed with exit code 1"]
    assert table[1].split() == ["eta=0.1-seed=1", "done"]
    assert _main(sweep_file, tmp_path / "out") == 0
    assert [argv[-3] for argv in started] == [
        "--config.policy.eta=0.06",
        "--config.policy.eta=0.1",
    ] * 2, "a folder that is done may be of another configuration"


def test_points_json_says_what_was_started(sweep_file, tmp_path, started):
    _main(sweep_file, tmp_path / "out")
    records = json.loads((tmp_path / "out" / "points.json").read_text())
    assert [r["name"] for r in records] == ["eta=0.06-seed=1", "eta=0.1-seed=1"]
    assert records[1]["overrides"] == {"policy.eta": 0.1, "seed": 1}
    assert [r["argv"] for r in records] == started


def test_names_stay_apart_where_fields_end_alike(tmp_path):
    overrides = {"policy.lr": 0.1, "flow.lr": 0.2, "policy.hidden": (8, 4)}
    point = sweep.make_point("c.py", overrides, "out")
    assert point.name == "policy.lr=0.1-flow.lr=0.2-policy.hidden=(8,4)"
    assert "--config.policy.hidden=(8, 4)" in point.argv


@pytest.mark.parametrize(
    "text, said",
    [
        ("CONFIG = 'x'\n", "must define CONFIG and sweep"),
        ("CONFIG = 'x'\ndef sweep(add): pass\n", "adds nothing"),
        ("CONFIG = 'x'\ndef sweep(add): add(a=1); add(a=1)\n", "adds a=1;"),
    ],
)
def test_a_file_that_is_no_sweep_is_refused(tmp_path, text, said):
    (tmp_path / "s.py").write_text(text)
    with pytest.raises(SystemExit, match=said):
        sweep.load_points(str(tmp_path / "s.py"), "out")
    (tmp_path / "s.txt").write_text(text)
    with pytest.raises(SystemExit, match="s.txt is not a Python file"):
        sweep.load_points(str(tmp_path / "s.txt"), "out")
    with pytest.raises(SystemExit, match="there is no sweep file"):
        sweep.load_points(str(tmp_path / "t.py"), "out")


def test_the_program_prints_its_help_and_the_sweep_of_eta():
    root = Path(__file__).parents[2]
    run = lambda *argv: subprocess.run(
        [sys.executable, "-m", "launch.sweep", *argv],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--dry_run" in run("--help").stdout
    out = run("--sweep=configs/sweeps/eta.py", "--out=runs/eta", "--dry_run").stdout
    assert len(out.splitlines()) == 12
    assert "--run=runs/eta/eta=0.04-seed=0" in out.splitlines()[0]
