"""Metrics on disk: one JSON line per record, and TensorBoard where asked for.

The lines are the truth. They hold no clock, so the file of a run that was stopped and
resumed equals the file of one that was not. What the clock says goes to a file of its
own.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxseg.errors import UserError
from jaxseg.runtime import files

FILE = "metrics.jsonl"
TIMES_FILE = "times.jsonl"


class MetricWriter:
    """Appends records to metrics.jsonl and times.jsonl; use as a context manager."""

    def __init__(
        self, folder: str | os.PathLike, *, step: int = 0, tensorboard: bool = False
    ):
        """Open the files and forget all records beyond `step`, where the run goes on.

        Raises:
          UserError: a file holds something else, or TensorBoard is not installed.
        """
        folder = Path(folder)
        with files.writing(folder / FILE):
            folder.mkdir(parents=True, exist_ok=True)
        self._lines = _Lines(folder / FILE, step)
        self._board = _tensorboard(folder, step) if tensorboard else None
        self._times = _Lines(folder / TIMES_FILE, step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one record to metrics.jsonl and flush it to the system."""
        self._lines.write(step, values)
        self._show(step, values)

    def write_times(self, step: int, values: Mapping[str, float]) -> None:
        """Append one record to times.jsonl: what differs from one run to the next."""
        self._times.write(step, values)
        self._show(step, {f"time/{name}": value for name, value in values.items()})

    def close(self) -> None:
        """Close the files."""
        self._lines.close()
        self._times.close()
        if self._board is not None:
            self._board.close()

    def _show(self, step: int, values: Mapping[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, float(value), int(step))
            self._board.flush()

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class NoWriter:
    """Takes records and keeps none, as all processes but the first do."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Forget one record."""

    def write_times(self, step: int, values: Mapping[str, float]) -> None:
        """Forget one record."""

    def __enter__(self) -> "NoWriter":
        return self

    def __exit__(self, *_) -> None:
        pass


class _Lines:
    """One file of records, opened to append beyond a step."""

    def __init__(self, path: Path, step: int):
        self._path = path
        if path.exists():
            kept = [line for line in _records(path) if line["step"] <= step]
            files.write_atomically(path, "".join(map(_line, kept)))
        with files.writing(path):
            self._file = open(path, "a", encoding="utf-8")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        record = {"step": int(step)} | {k: float(v) for k, v in values.items()}
        with files.writing(self._path):
            self._file.write(_line(record))
            self._file.flush()

    def close(self) -> None:
        self._file.close()


def read(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Read the records of a metrics file, or of the run folder that holds one.

    A last line that was cut short by a killed process is left out. Values that were
    not finite read as NaN.

    Raises:
      UserError: there is no such file, or a line is not a record.
    """
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    if not path.exists():
        raise UserError(
            f"there is no metrics file {path}; expected one that training wrote; "
            "give the folder of a run"
        )
    return _records(path)


def _records(path: Path) -> list[dict[str, Any]]:
    records = []
    lines = path.read_bytes().split(b"\n")
    # Every whole line ends in a newline, so what follows the last one was cut short.
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = json.loads(line)
            record["step"] = int(record["step"])
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"line {number} of {path} is not a metrics record; expected JSON with "
                "a step; repair or move the file"
            ) from None
        records.append({k: math.nan if v is None else v for k, v in record.items()})
    return records


def _line(record: Mapping[str, Any]) -> str:
    # JSON has no NaN, and readers other than Python refuse one.
    plain = {k: v if math.isfinite(v) else None for k, v in record.items()}
    return json.dumps(plain) + "\n"


def _tensorboard(folder: str | os.PathLike, step: int):
    try:
        import tensorboardX
    except ImportError:
        raise UserError(
            "TensorBoard was asked for but tensorboardX is not installed; expected the "
            "extra; run: pip install 'jaxseg[tensorboard]'"
        ) from None
    # purge_step hides what a killed run wrote beyond its checkpoint.
    purge = step + 1 if step else None
    return tensorboardX.SummaryWriter(
        str(Path(folder) / "tensorboard"), purge_step=purge
    )
