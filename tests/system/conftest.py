"""The demo at its smallest size, run once; the tests here look at what it left."""

import pytest

from jaxseg.cli import main
from jaxseg.evaluation import rows as tables
from jaxseg.runtime import metrics


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """Run `jaxseg demo --preset smoke` and return its folder."""
    out = tmp_path_factory.mktemp("system") / "demo"
    assert main.main(["demo", "--preset", "smoke", "--out", str(out)]) == 0
    _check_that_it_says_something(out)
    return out


def _check_that_it_says_something(out):
    """Claims about scores mean nothing where an N sees one class everywhere."""
    rows = tables.read_csv(out / "curve" / "curve.csv")
    assert len({round(row["miou_frame_mean"], 4) for row in rows}) > 5
    returns = [
        line["return"] for line in metrics.read(out / "eta06") if "return" in line
    ]
    assert any(abs(value) > 1e-4 for value in returns)


@pytest.fixture
def jaxseg(capsys):
    """Return a function that runs the program: arguments -> exit code, out, err."""

    def run(*arguments):
        code = main.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
