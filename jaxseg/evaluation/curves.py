"""AKI-mIoU curves of a split: every scheduler, the exact optimum, one row a point."""

import csv
import io
import itertools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxseg import build
from jaxseg.data import source
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


class Clip(NamedTuple):
    """Consecutive frames of a split that are evaluated as one stream."""

    video: str
    start: int  # record
    length: int


def clips_of(frames: source.FrameSource, clip_length: int) -> list[Clip]:
    """Cut the runs of a split into equal clips of at most `clip_length` frames.

    0 keeps whole runs. Runs of a single frame are left out: nothing is decided there.
    """
    found = []
    for run in frames.runs:
        if run.length < 2:
            continue
        count = -(-run.length // clip_length) if clip_length else 1
        cuts = run.start + np.arange(count + 1) * run.length // count
        video = frames.locate(run.start)[0]
        found += [
            Clip(video, int(start), int(end - start))
            for start, end in itertools.pairwise(cuts)
        ]
    return found


def score_split(
    model: build.Model,
    compared: dict[str, specs.Spec],
    frames: source.FrameSource,
    folder: Path,
    *,
    clip_length: int = 0,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> dict[str, clips.ClipScores]:
    """Score every scheduler on every video of a split, in name order.

    Each finished clip is kept in `folder`, so that a second call goes on where the
    first stopped.

    Returns:
      Video name -> the sums over its clips.
    """
    by_video: dict[str, list[clips.ClipScores]] = {}
    for clip in clips_of(frames, clip_length):
        path = folder / f"{clip.video}-{clip.start}-{clip.length}.npz"
        if path.is_file():
            scores = _read(path, compared)
            if progress is not None:
                progress(clip.length * (clip.length - 1) // 2)
        else:
            images, labels = frames.clip(clip.start, clip.length)
            own = zlib.crc32(f"{seed}/{clip.video}/{clip.start}".encode())
            scores = clips.score_clip(
                model, compared, images, labels, seed=own, progress=progress
            )
            _write(path, scores)
        by_video.setdefault(clip.video, []).append(scores)
    if not by_video:
        raise UserError(
            f"split {frames.split} has no run of two or more frames; expected videos; "
            "prepare another data set"
        )
    return {name: clips.merge(found) for name, found in sorted(by_video.items())}


def _write(path: Path, scores: clips.ClipScores) -> None:
    arrays = {
        "frames": np.asarray(scores.frames),
        "clips": np.asarray(scores.clips),
        "optimum": scores.optimum,
    }
    for label, outcome in scores.outcomes.items():
        for name, value in outcome._asdict().items():
            arrays[f"{label}|{name}"] = value
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path, buffer.getvalue())


def _read(path: Path, compared: dict[str, specs.Spec]) -> clips.ClipScores:
    try:
        with np.load(path) as arrays:
            outcomes = {
                label: clips.Outcome(
                    **{n: arrays[f"{label}|{n}"] for n in clips.Outcome._fields}
                )
                for label in compared
            }
            frames, count = int(arrays["frames"]), int(arrays["clips"])
            return clips.ClipScores(frames, count, outcomes, arrays["optimum"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}: {error}); expected the "
            "scores of a clip that jaxseg wrote; delete it and run again"
        ) from error


def rows(
    videos: dict[str, clips.ClipScores],
    compared: dict[str, specs.Spec],
    split: str,
    times: StepTimes | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of curve.csv: every spec and value, then the optimum.

    AKI is frames / key frames over the split, first frames counted. `regret` is the
    best mean per-frame mIoU that any schedule reaches with as many keys in the split,
    less the row's own.
    """
    total = clips.merge(list(videos.values()))
    shared = {"split": split, "videos": len(videos), "frames": total.frames}
    bound = _Bound(total)
    table = []
    for label, spec in compared.items():
        outcome = total.outcomes[label]
        for index, value in enumerate(spec.values):
            keys = float(outcome.keys[index])
            mean = float(outcome.score[index]) / total.frames
            table.append(
                shared
                | {
                    "scheduler": spec.name,
                    "parameter": float(value),
                    "eta": "" if spec.eta is None else spec.eta,
                    "price": "",
                    "seed": spec.seed,
                    "keys": keys,
                    "aki": total.frames / keys,
                    "miou": _pooled(outcome.confusion[index]),
                    "miou_frame_mean": mean,
                    "regret": bound.frame_mean(keys) - mean,
                    "fps": _fps(times, spec.kind, total, keys),
                }
            )
    for aki in OPTIMUM_AKIS:
        keys = round(total.frames / aki)
        if total.clips <= keys:
            table.append(
                shared
                | dict.fromkeys(("eta", "price", "miou", "fps"), "")
                | {
                    "scheduler": "optimum",
                    "parameter": keys,
                    "seed": 0,
                    "keys": keys,
                    "aki": total.frames / keys,
                    "miou_frame_mean": bound.frame_mean(keys),
                    "regret": 0.0,
                }
            )
    return table


class _Bound:
    """The optimum as a function of the number of keys in the split."""

    def __init__(self, total: clips.ClipScores):
        reachable = np.flatnonzero(np.isfinite(total.optimum))
        self._keys = reachable + 1.0
        self._means = total.optimum[reachable] / total.frames

    def frame_mean(self, keys: float) -> float:
        return float(np.interp(keys, self._keys, self._means))


def _pooled(confusion: np.ndarray) -> float:
    return float(iou.mean_iou(jnp.asarray(confusion, jnp.float32)))


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
    aki: float
    key_rate: float  # keys a decision, the first frames left out
    # Of the mean per-frame mIoU; None where the AKI lies outside the random sweep.
    difference: intervals.Interval | None


def against_random(
    videos: dict[str, clips.ClipScores],
    compared: dict[str, specs.Spec],
    label: str,
    index: int,
    baseline: str = "random",
) -> Comparison:
    """Compare a point of a spec with the random curve read at the point's AKI."""
    total = clips.merge(list(videos.values()))
    frames = np.array([video.frames for video in videos.values()], float)
    keys = float(total.outcomes[label].keys[index])
    aki = total.frames / keys
    akis = total.frames / total.outcomes[baseline].keys
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
