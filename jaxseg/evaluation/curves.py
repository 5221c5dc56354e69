"""Score every scheduler on a split, clip by clip, kept on disk as they finish."""

import itertools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxseg import model_file
from jaxseg.data import source
from jaxseg.errors import UserError
from jaxseg.evaluation import arrays, clips, features, specs


class Clip(NamedTuple):
    """Consecutive frames of a split that are evaluated as one stream."""

    video: str
    start: int  # record
    length: int


def clips_of(frames: source.FrameSource, clip_length: int) -> list[Clip]:
    """Cut the runs of a split into equal clips of at most `clip_length` frames.

    0 keeps whole runs. Runs of a single frame are left out: nothing is decided there.
    For the same reason no clip has a single frame: where `clip_length` is 2, one clip
    of an odd run has 3.

    Raises:
      UserError: there is no run of two or more frames.
    """
    found = []
    for run in frames.runs:
        if run.length < 2:
            continue
        count = -(-run.length // clip_length) if clip_length else 1
        count = min(count, run.length // 2)
        cuts = run.start + np.arange(count + 1) * run.length // count
        video = frames.locate(run.start)[0]
        found += [
            Clip(video, int(start), int(end - start))
            for start, end in itertools.pairwise(cuts)
        ]
    if not found:
        raise UserError(
            f"split {frames.split} has no run of two or more frames; expected videos; "
            "prepare another data set"
        )
    return found


def score_split(
    model: model_file.Model,
    compared: dict[str, specs.Spec],
    frames: source.FrameSource,
    clip_fn: features.ClipFn,
    folder: Path,
    *,
    clip_length: int = 0,
    classes: str = "present",
    precision: str = "float32",
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> dict[str, clips.ClipScores]:
    """Score every scheduler on every video of a split, in name order.

    Each finished clip is kept in `folder`, so that a second call goes on where the
    first stopped; give every precision (see `ops.precision`) a folder of its own. Clips
    of `frames` are read by `clip_fn`.

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
            own = zlib.crc32(f"{seed}/{clip.video}/{clip.start}".encode())
            scores = clips.score_clip(
                model,
                compared,
                clip_fn(clip.start, clip.length),
                classes=classes,
                precision=precision,
                seed=own,
                progress=progress,
            )
            _write(path, scores)
        by_video.setdefault(clip.video, []).append(scores)
    return {name: clips.merge(found) for name, found in sorted(by_video.items())}


def _write(path: Path, scores: clips.ClipScores) -> None:
    found = {
        "frames": np.asarray(scores.frames),
        "clips": np.asarray(scores.clips),
        "optimum": scores.optimum,
    }
    for label, outcome in scores.outcomes.items():
        for name, value in outcome._asdict().items():
            found[f"{label}|{name}"] = value
    arrays.write(path, found)


def _read(path: Path, compared: dict[str, specs.Spec]) -> clips.ClipScores:
    def make(found):
        outcomes = {
            label: clips.Outcome(
                **{name: found[f"{label}|{name}"] for name in clips.Outcome._fields}
            )
            for label in compared
        }
        return clips.ClipScores(
            int(found["frames"]), int(found["clips"]), outcomes, found["optimum"]
        )

    return arrays.read(path, make, "the scores of a clip")
