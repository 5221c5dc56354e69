"""Work ahead: results of a function of the step, computed in a thread of their own."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Iterates over (step, fn(step)), `depth` results ahead of its reader.

    There are never more that the reader has not taken, the one in the making among
    them; none is held that it has taken. An exception in `fn` is raised where its
    result would have come. Use as a context manager, which stops the thread.

    Attributes:
      waited: seconds that its reader has waited for results.
    """

    def __init__(self, fn: Callable[[int], T], steps: Iterable[int], depth: int = 2):
        """Start at once, on the first `depth` steps."""
        self.waited = 0.0
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._free = threading.Semaphore(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._work, args=(fn, steps), name="prefetch", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[int, T]]:
        return self

    def __next__(self) -> tuple[int, T]:
        begun = time.perf_counter()
        item = self._queue.get()
        self.waited += time.perf_counter() - begun
        if item.step is None:  # the last for ever
            self._queue.put(item)
            raise item.error or StopIteration
        self._free.release()
        return item.step, item.value

    def close(self) -> None:
        """Stop the thread after the result that it is at."""
        self._stopped.set()
        self._free.release()
        self._thread.join()

    def __enter__(self) -> "Prefetch[T]":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _work(self, fn: Callable[[int], T], steps: Iterable[int]) -> None:
        try:
            for step in steps:
                self._free.acquire()
                if self._stopped.is_set():
                    return
                self._queue.put(_Item(step, fn(step)))
            self._queue.put(_Item())
        except BaseException as error:  # also KeyboardInterrupt: the reader's to treat
            self._queue.put(_Item(error=error))


class _Item(NamedTuple):
    step: int | None = None
    value: object = None
    error: BaseException | None = None
