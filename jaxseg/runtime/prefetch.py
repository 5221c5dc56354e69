"""Work ahead: results of a function of the step, computed in a thread of their own."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.2


class Prefetch(Generic[T]):
    """Iterates over (step, fn(step)), up to `depth` results ahead of its reader.

    An exception in `fn` is raised where its result would have come. Use as a context
    manager, which stops the thread.

    Attributes:
      waited: seconds that its reader has waited for results.
    """

    def __init__(self, fn: Callable[[int], T], steps: Iterable[int], depth: int = 2):
        """Start at once, up to `depth` steps ahead."""
        self.waited = 0.0
        self._queue: queue.Queue[_Item] = queue.Queue(maxsize=depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._work, args=(fn, steps), name="prefetch", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[int, T]]:
        while True:
            begun = time.perf_counter()
            item = self._queue.get()
            self.waited += time.perf_counter() - begun
            if item.error is not None:
                raise item.error
            if item.step is None:
                return
            yield item.step, item.value

    def close(self) -> None:
        """Stop the thread after the result that it is at."""
        self._stopped.set()
        self._thread.join()

    def __enter__(self) -> "Prefetch[T]":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _work(self, fn: Callable[[int], T], steps: Iterable[int]) -> None:
        try:
            for step in steps:
                if self._stopped.is_set() or not self._put(_Item(step, fn(step))):
                    return
            self._put(_Item())
        except BaseException as error:  # also KeyboardInterrupt: the reader's to treat
            self._put(_Item(error=error))

    def _put(self, item: "_Item") -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False


class _Item(NamedTuple):
    step: int | None = None
    value: object = None
    error: BaseException | None = None
