"""Claims about work done ahead of its reader."""

import threading
import time

import pytest

from jaxseg.runtime import prefetch


def test_results_come_in_order_and_all_of_them():
    with prefetch.Prefetch(lambda s: s * s, range(3, 9)) as ahead:
        assert list(ahead) == [(s, s * s) for s in range(3, 9)]


def test_works_ahead_but_not_further_than_asked():
    made, wanted = [], threading.Event()

    def make(step):
        made.append(step)
        if step == 4:
            wanted.set()
        return step

    with prefetch.Prefetch(make, range(100), depth=3) as ahead:
        iterator = iter(ahead)
        next(iterator)
        assert wanted.wait(5)  # 0 is taken, 1 to 3 lie ready, 4 is in the hand
        time.sleep(0.05)
        assert made == [0, 1, 2, 3, 4]


def test_an_error_comes_where_its_result_would_have_come():
    def make(step):
        if step == 2:
            raise OSError("clip 2 is gone")
        return step

    seen = []
    with prefetch.Prefetch(make, range(5)) as ahead:
        with pytest.raises(OSError, match="clip 2 is gone"):
            for step, _ in ahead:
                seen.append(step)
    assert seen == [0, 1]


def test_leaving_early_stops_the_thread():
    with prefetch.Prefetch(lambda s: s, range(10**9)) as ahead:
        next(iter(ahead))
    assert "prefetch" not in {t.name for t in threading.enumerate()}
