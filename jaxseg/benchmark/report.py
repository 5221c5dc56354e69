"""What benchmarks say: lines for people as they come, and lines of JSON."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from jaxseg.benchmark import peaks, targets, turns
from jaxseg.evaluation import speed
from jaxseg.ops import precision as precisions
from jaxseg.runtime import files


class Report:
    """Prints results, and writes a file of them anew after each."""

    def __init__(self, path: str | None):
        """Begin an empty file, or none where `path` is None."""
        self.hardware = speed.hardware()
        self._path, self._lines = path, []
        self._write()

    def compare(self, comparisons: Iterable[turns.Comparison], repeats: int) -> None:
        """Print comparisons as they come, each with a line of facts."""
        print(f"on {self.hardware}; medians of {repeats}")
        print(
            f"{'case':<26}{'against':<22}{'ours s':>9}{'wall ratio':>12}"
            f"{'CPU ratio':>11}{'compile s':>11}{'difference':>12}"
        )
        for found in comparisons:
            print(
                f"{found.case:<26}{found.against:<22}{found.seconds:>9.4f}"
                f"{_number(found.ratio):>12}{_number(found.cpu_ratio):>11}"
                f"{found.compile_seconds:>11.1f}{_number(found.difference, '.1e'):>12}"
            )
            print(f"  {_facts(found.facts)}", flush=True)
            self.add(found._asdict())
        peak = peaks.of_device()
        print(f"the device's peak: {peak.rate / 1e12:.3g} TFLOP/s ({peak.source})")

    def facts(self, case: str, facts: Mapping[str, Any]) -> None:
        """Print and write what is known of something that is not timed."""
        print(f"{case}\n  {_facts(facts)}", flush=True)
        self.add({"case": case, "facts": facts})

    def targets(self, lines: Iterable[targets.Line | str], precision: str) -> None:
        """Print figures beside their targets as they come."""
        peak = peaks.of_device(precisions.dtype(precision))
        name = precisions.resolve(precision)
        print(
            f"on {self.hardware}; {name}; targets: one NVIDIA H200, the paper's sizes"
        )
        print(f"peak: {peak.rate / 1e12:.4g} TFLOP/s ({peak.source})")
        print(
            f"{'figure':<48}{'':>10} {'':<24}{'target':>8}{'better':>8} "
            f"{'reached':<10}{'of peak':>8}{'compile s':>11}"
        )
        for line in lines:
            if isinstance(line, str):
                print(line, flush=True)
                self.add({"note": line})
                continue
            figure, goal = line.figure, line.goal
            goals = [_number(x, "g") for x in goal[:2]] if goal else ["", ""]
            print(
                f"{figure.name:<48}{figure.value:>10.4g} {figure.unit:<24}"
                f"{goals[0]:>8}{goals[1]:>8} {line.reached():<10}"
                f"{_number(line.share, '.1%'):>8}{figure.compile_seconds:>11.1f}"
            )
            print(f"  {_facts(figure.facts)}", flush=True)
            self.add(
                {"case": figure.name, "part": line.part, "share_of_peak": line.share}
                | figure._asdict()
                | {"goal": goal and goal._asdict(), "reached": line.reached()}
                | {"precision": name}
            )

    def add(self, values: Mapping[str, Any]) -> None:
        """Write one more line; what is no number becomes null."""
        self._lines.append(json.dumps(_finite(values | {"hardware": self.hardware})))
        self._write()

    def _write(self) -> None:
        if self._path:
            text = "".join(f"{line}\n" for line in self._lines)
            files.write_atomically(self._path, text)


def _number(x: float, form: str = ".2f") -> str:
    return "" if math.isnan(x) else format(x, form)


def _facts(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_fact(value)}" for name, value in facts.items())


def _fact(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _finite(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, float) and not math.isfinite(values):
        return None
    return values
