"""From the scores of videos to points of the AKI-mIoU curve, one row a point."""

import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxseg.errors import UserError
from jaxseg.evaluation import clips, intervals, specs
from jaxseg.evaluation.speed import StepTimes
from jaxseg.ops import iou
from jaxseg.runtime import files

COLUMNS = (
    "scheduler",
    "parameter",
    "eta",
    "price",
    "seed",
    "split",
    "videos",
    "frames",
    "keys",
    "aki",
    "miou",
    "miou_frame_mean",
    "regret",
    "fps",
)
OPTIMUM_AKIS = (2, 3, 4, 5, 7, 10, 14, 20, 30, 40, 60, 90, 120, 180, 240)
OPTIMUM_BUDGETS = ("split", "video")


class Readings(NamedTuple):
    """Readings of the paper that the numbers depend on; see `configs/evaluate.py`."""

    classes: str = "present"  # that the mean IoU counts, see `iou.mean_iou`
    count_first_frames: bool = True  # in the AKI; they are key by rule
    optimum_budget: str = "split"  # keys of the optimum: of the split, or per video


DEFAULT_READINGS = Readings()


def rows(
    videos: dict[str, clips.ClipScores],
    compared: dict[str, specs.Spec],
    split: str,
    times: StepTimes | None = None,
    readings: Readings = DEFAULT_READINGS,
) -> list[dict[str, Any]]:
    """Return the rows of curve.csv: every spec and value, then the optimum.

    AKI is frames / key frames over the split; where first frames do not count, it is
    infinite if no other frame was key, and the optimum has no such row. `regret` is
    the best mean per-frame mIoU that any schedule reaches with as many keys in the
    split (or with as many keys in each video), less the row's own.
    """
    total = clips.merge(list(videos.values()))
    shared = {"split": split, "videos": len(videos), "frames": total.frames}
    bound = _Bound(videos, readings.optimum_budget == "video")
    table = []
    for label, spec in compared.items():
        outcome = total.outcomes[label]
        for index, value in enumerate(spec.values):
            keys = float(outcome.keys[index])
            mean = float(outcome.score[index]) / total.frames
            best = bound.frame_mean(
                [part.outcomes[label].keys[index] for part in bound.parts]
            )
            table.append(
                shared
                | {
                    "scheduler": spec.name,
                    "parameter": float(value),
                    "eta": "" if spec.eta is None else spec.eta,
                    "price": "",
                    "seed": "" if spec.seed is None else spec.seed,
                    "keys": keys,
                    "aki": _aki(total, keys, readings),
                    "miou": _pooled(outcome.confusion[index], readings.classes),
                    "miou_frame_mean": mean,
                    "regret": best - mean,
                    "fps": _fps(times, spec.kind, total, keys),
                }
            )
    for budgets in _optimum_budgets(bound.parts, readings):
        keys = sum(budgets)
        table.append(
            shared
            | dict.fromkeys(("eta", "price", "seed", "miou", "fps"), "")
            | {
                "scheduler": "optimum",
                "parameter": keys,
                "keys": keys,
                "aki": _aki(total, keys, readings),
                "miou_frame_mean": bound.frame_mean(budgets),
                "regret": 0.0,
            }
        )
    return table


def _optimum_budgets(parts, readings: Readings) -> list[list[int]]:
    """Return the keys of every part at the AKIs of the optimum, each sum once."""
    found: dict[int, list[int]] = {}
    for aki in OPTIMUM_AKIS:
        budgets = [_keys_at(part, aki, readings) for part in parts]
        first = [part.clips for part in parts]  # frames, which are key by rule
        if any(keys < least for keys, least in zip(budgets, first, strict=True)):
            continue
        # Without the first frames there is no AKI where no other one is key.
        if readings.count_first_frames or budgets != first:
            found.setdefault(sum(budgets), budgets)
    return list(found.values())


def _aki(total: clips.ClipScores, keys: float, readings: Readings) -> float:
    if readings.count_first_frames:
        return total.frames / keys
    chosen = keys - total.clips
    return (total.frames - total.clips) / chosen if chosen > 0 else float("inf")


def _keys_at(part: clips.ClipScores, aki: float, readings: Readings) -> int:
    if readings.count_first_frames:
        return round(part.frames / aki)
    return part.clips + round((part.frames - part.clips) / aki)


class _Bound:
    """The optimum as a function of the keys of the split, or of every video."""

    def __init__(self, videos: dict[str, clips.ClipScores], per_video: bool):
        found = list(videos.values())
        self.parts = found if per_video else [clips.merge(found)]
        self._frames = sum(part.frames for part in self.parts)

    def frame_mean(self, keys: list[float]) -> float:
        """Return the best mean over frames, given the keys of every part."""
        best = [_best(p.optimum, n) for p, n in zip(self.parts, keys, strict=True)]
        return sum(best) / self._frames


def _best(totals: np.ndarray, keys: float) -> float:
    reachable = np.flatnonzero(np.isfinite(totals))
    return float(np.interp(keys, reachable + 1.0, totals[reachable]))


def _pooled(confusion: np.ndarray, classes: str) -> float:
    return float(iou.mean_iou(jnp.asarray(confusion, jnp.float32), classes))


def _fps(times, kind, total, keys):
    """Frames a second without the first frames, which are key by rule."""
    if times is None:
        return ""
    key, non_key = times.seconds[kind]
    seconds = (keys - total.clips) * key + (total.frames - keys) * non_key
    return (total.frames - total.clips) / seconds


class Comparison(NamedTuple):
    """One policy against random keys at its own AKI, paired over videos."""

    label: str
    eta: float
    aki: float  # infinite where no key was chosen
    key_rate: float  # keys a decision, the first frames left out
    # Of the mean per-frame mIoU; None where the AKI lies outside the random sweep.
    difference: intervals.Interval | None


def against_random(
    videos: dict[str, clips.ClipScores],
    compared: dict[str, specs.Spec],
    label: str,
    index: int,
    baseline: str = "random",
    readings: Readings = DEFAULT_READINGS,
) -> Comparison:
    """Compare a point of a spec with the random curve read at the point's AKI."""
    total = clips.merge(list(videos.values()))
    frames = np.array([video.frames for video in videos.values()], float)
    keys = float(total.outcomes[label].keys[index])
    aki = _aki(total, keys, readings)
    sweep = total.outcomes[baseline].keys
    akis = np.array([_aki(total, count, readings) for count in sweep])
    differences = [
        video.outcomes[label].score[index] / video.frames
        - intervals.at_aki(aki, akis, video.outcomes[baseline].score / video.frames)
        for video in videos.values()
    ]
    inside = np.isfinite(differences).all()
    return Comparison(
        label,
        compared[label].eta,
        aki,
        (keys - total.clips) / (total.frames - total.clips),
        intervals.paired_bootstrap(np.array(differences), frames) if inside else None,
    )


def write_csv(path: Path, table: list[dict[str, Any]]) -> None:
    """Write the rows with the columns of `COLUMNS`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in table:
        writer.writerow({name: _cell(row[name]) for name in COLUMNS})
    files.write_atomically(path, text.getvalue())


def _cell(value):
    return f"{value:.6g}" if isinstance(value, float) else value


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Read curve.csv; numbers come back as numbers, empty cells as None."""
    if not Path(path).is_file():
        raise UserError(
            f"there is no {path}; expected the table of an evaluation; run `jaxseg "
            "evaluate` first"
        )
    with open(path, newline="") as file:
        return [
            {
                name: value if name in ("scheduler", "split") else _number(value)
                for name, value in row.items()
            }
            for row in csv.DictReader(file)
        ]


def _number(text: str) -> float | None:
    return float(text) if text else None
