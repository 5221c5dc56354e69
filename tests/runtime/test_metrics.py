"""Claims about the metrics file: what is written, what a resumed run keeps."""

import json
import math
import sys

import pytest

from jaxseg.errors import UserError
from jaxseg.runtime import metrics


def _write(folder, steps, **kw):
    with metrics.MetricWriter(folder, **kw) as writer:
        for step in steps:
            writer.write(step, {"loss": 1 / step})


def test_records_read_back_exactly_and_are_on_disk_at_once(tmp_path):
    with metrics.MetricWriter(tmp_path) as writer:
        writer.write(3, {"loss": 0.1, "bad": float("nan"), "inf": float("-inf")})
        (record,) = metrics.read(tmp_path)
    assert record["step"] == 3 and record["loss"] == 0.1
    assert math.isnan(record["bad"]) and math.isnan(record["inf"])
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line)["bad"] is None, "NaN is not JSON"


def test_a_resumed_file_equals_the_uninterrupted_one(tmp_path):
    _write(tmp_path / "one", range(1, 9))
    _write(tmp_path / "two", range(1, 7))
    with open(tmp_path / "two" / "metrics.jsonl", "a") as file:
        file.write('{"step": 7, "lo')  # killed while writing
    assert [r["step"] for r in metrics.read(tmp_path / "two")] == [1, 2, 3, 4, 5, 6]
    _write(tmp_path / "two", range(5, 9), step=4)
    one, two = (tmp_path / n / "metrics.jsonl" for n in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_run_that_starts_again_forgets_what_was_there(tmp_path):
    _write(tmp_path, [1, 2])
    _write(tmp_path, [1], step=0)
    assert [r["step"] for r in metrics.read(tmp_path)] == [1]


def test_a_missing_and_a_foreign_file_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no metrics file .*metrics\.jsonl"):
        metrics.read(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nhello\n')
    with pytest.raises(UserError, match=r"line 2 of .*metrics\.jsonl"):
        metrics.read(tmp_path)
    with pytest.raises(UserError, match="line 2"):
        metrics.MetricWriter(tmp_path, step=1)
    assert "hello" in (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"st\xff": 2}\n')
    with pytest.raises(UserError, match="line 2"):
        metrics.read(tmp_path)


def test_tensorboard_gets_the_values_or_names_the_extra(tmp_path, monkeypatch):
    calls = []

    class _Board:
        def __init__(self, folder, purge_step):
            calls.append((folder, purge_step))

        def add_scalar(self, *values):
            calls.append(values)

        flush = close = lambda self: None

    module = type(sys)("tensorboardX")
    module.SummaryWriter = _Board
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    _write(tmp_path, [5], step=4, tensorboard=True)
    assert calls == [(str(tmp_path / "tensorboard"), 5), ("loss", 0.2, 5)]

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r"jaxseg\[tensorboard\]"):
        metrics.MetricWriter(tmp_path, tensorboard=True)
