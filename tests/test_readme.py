"""The README's own code and commands are true."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def test_example_runs_as_it_stands():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(code.strip().splitlines()) <= 26
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    rate, quality = (float(x) for x in names["result"])
    assert 0.0 < rate < 1.0 and 0.5 < quality < 1.0


def test_commands_are_the_two_that_ci_and_people_run():
    install = "python3 -m venv .venv && . .venv/bin/activate && pip install -e "
    assert f"{install}. && jaxseg demo\n" in TEXT
    assert f"{install}'.[test]' && pytest\n" in TEXT


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\]\((\w[^)#]*)\)", TEXT))))
def test_files_that_it_shows_exist(name):
    assert (ROOT / name).is_file()
