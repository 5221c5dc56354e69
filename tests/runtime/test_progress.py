"""Claims about progress: what a log file and a terminal see."""

import io
import re

from jaxseg.runtime import progress


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def _clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_file_gets_plain_lines_now_and_then(monkeypatch):
    now, file = _clock(monkeypatch), io.StringIO()
    with progress.bar(110, 10, "policy", file) as bar:
        for _ in range(50):
            now[0] += 0.5
            bar.note(loss=0.123456)
            bar.advance()
    lines = file.getvalue().splitlines()
    assert "\r" not in file.getvalue() and "\x1b" not in file.getvalue()
    assert lines[0] == "policy: 30/110,  2.00it/s, 00:40 left, loss 0.1235"
    assert [line.split(",")[0] for line in lines] == [
        "policy: 30/110",
        "policy: 50/110",
        "policy: 60/110",
    ]


def test_short_work_prints_one_line_and_no_work_none(monkeypatch):
    _clock(monkeypatch)
    file = io.StringIO()
    with progress.bar(3, 0, "read", file) as bar:
        bar.advance(3)
    assert file.getvalue().count("\n") == 1
    file = io.StringIO()
    with progress.bar(3, 3, "read", file):
        pass
    assert file.getvalue() == ""


def test_a_terminal_gets_a_bar_that_starts_where_the_run_did():
    file = _Terminal()
    with progress.bar(10, 4, "policy", file) as bar:
        bar.note(loss=0.5)
        bar.advance(6)
    last = file.getvalue().split("\r")[-1]
    assert re.search(r"policy: 100%.* 10/10 .*loss=0\.5", last)
