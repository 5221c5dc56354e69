"""The demo at its smallest size, run once; the tests here look at what it left."""

import pytest

from jaxseg.cli import main


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """Run `jaxseg demo --preset smoke` and return its folder."""
    out = tmp_path_factory.mktemp("system") / "demo"
    assert main.main(["demo", "--preset", "smoke", "--out", str(out)]) == 0
    return out


@pytest.fixture
def jaxseg(capsys):
    """Return a function that runs the program: arguments -> exit code, out, err."""

    def run(*arguments):
        code = main.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
