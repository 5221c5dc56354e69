"""The README's own code and commands are true."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def test_example_runs_as_it_stands():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(code.strip().splitlines()) <= 20
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    trial = names["trial"]
    assert 0.0 < float(trial.action.mean()) < 1.0
    assert 0.5 < float(trial.score.mean()) < 1.0


def test_the_two_commands_stand_there_whole():
    install = "python3 -m venv .venv && . .venv/bin/activate && pip install -e "
    assert f"{install}. && jaxseg demo\n" in TEXT
    assert f"{install}'.[test]' && pytest\n" in TEXT


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", TEXT)))
)
def test_files_that_it_shows_exist(name):
    assert (ROOT / name).is_file()


def test_nothing_is_left_to_fill_in():
    assert "<!--" not in TEXT and "TODO" not in TEXT
