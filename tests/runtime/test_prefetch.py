"""Claims about work done ahead of its reader."""

import threading
import time
import weakref

import numpy as np
import pytest

from jaxseg.runtime import prefetch


def test_results_come_in_order_and_all_of_them():
    with prefetch.Prefetch(lambda s: s * s, range(3, 9)) as ahead:
        assert list(ahead) == [(s, s * s) for s in range(3, 9)]


@pytest.mark.parametrize("depth", [1, 3])
def test_works_ahead_but_not_further_than_asked(depth):
    made, wanted = [], threading.Event()

    def make(step):
        made.append(step)
        if step == depth:
            wanted.set()
        return step

    with prefetch.Prefetch(make, range(100), depth=depth) as ahead:
        iterator = iter(ahead)
        next(iterator)
        assert wanted.wait(20)  # 0 is taken, 1 to `depth` are ahead
        time.sleep(0.05)
        assert made == list(range(depth + 1))


def test_what_is_taken_is_held_by_the_reader_alone():
    with prefetch.Prefetch(lambda s: np.zeros(s), range(3)) as ahead:
        iterator = iter(ahead)
        _, found = next(iterator)
        held = weakref.ref(found)
        del found
        assert held() is None
        assert [step for step, _ in iterator] == [1, 2]


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
