"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from typing import TextIO

import tqdm

LINE_SECONDS = 10.0


def bar(
    total: int, initial: int = 0, description: str = "", file: TextIO | None = None
) -> "Bar":
    """Start to show progress on standard error, or on `file`; a context manager.

    Args:
      total: number of steps of the whole work.
      initial: number of them that were done before, which do not count for the rate.
      description: what is going on, in a word or two.
      file: where to write.
    """
    file = sys.stderr if file is None else file
    kind = _TerminalBar if file.isatty() else _LineBar
    return kind(total, initial, description, file)


class Bar:
    """What both kinds can do."""

    def advance(self, count: int = 1) -> None:
        """Count finished steps."""
        raise NotImplementedError

    def at(self, done: int, total: int) -> None:
        """Say how many steps of how many are finished, for work that counts itself."""
        raise NotImplementedError

    def note(self, **values: float) -> None:
        """Show the latest values beside the count."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave the last state on the screen."""
        raise NotImplementedError

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class Silent(Bar):
    """Shows nothing."""

    def advance(self, count: int = 1) -> None:
        """Count, and say nothing."""

    def at(self, done: int, total: int) -> None:
        """Say nothing."""

    def note(self, **values: float) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Leave nothing."""


class _TerminalBar(Bar):
    def __init__(self, total: int, initial: int, description: str, file: TextIO):
        self._bar = tqdm.tqdm(
            total=total,
            initial=initial,
            desc=description,
            file=file,
            dynamic_ncols=True,
            smoothing=0.1,
        )

    def advance(self, count: int = 1) -> None:
        self._bar.update(count)

    def at(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def note(self, **values: float) -> None:
        self._bar.set_postfix(_format(values), refresh=False)

    def close(self) -> None:
        self._bar.close()


class _LineBar(Bar):
    def __init__(self, total: int, initial: int, description: str, file: TextIO):
        self._total, self._initial, self._done = total, initial, initial
        self._description, self._file, self._values = description, file, {}
        self._start = self._printed = time.monotonic()
        self._shown = initial

    def advance(self, count: int = 1) -> None:
        self._done += count
        if time.monotonic() - self._printed >= LINE_SECONDS:
            self._print()

    def at(self, done: int, total: int) -> None:
        self._total = total
        self.advance(done - self._done)

    def note(self, **values: float) -> None:
        self._values = values

    def close(self) -> None:
        if self._done > self._shown:
            self._print()

    def _print(self) -> None:
        now = time.monotonic()
        fields = {
            "n": self._done,
            "total": self._total,
            "elapsed": now - self._start,
            "initial": self._initial,
            "bar_format": "{desc}{n_fmt}/{total_fmt}, {rate_fmt}, {remaining} left",
            "prefix": f"{self._description}: " if self._description else "",
        }
        line = tqdm.tqdm.format_meter(**fields)
        notes = [f"{name} {value}" for name, value in _format(self._values).items()]
        print(", ".join([line, *notes]), file=self._file, flush=True)
        self._printed, self._shown = now, self._done


def _format(values: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.4g}" for name, value in values.items()}
