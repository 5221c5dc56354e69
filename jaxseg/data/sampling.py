"""Which frames a step sees: functions of (seed, step) and nothing else.

So a run resumes exactly by its step number alone, and every process can draw the
whole batch and take its share. All positions are record numbers of one `FrameSource`.
"""

from collections.abc import Sequence

import numpy as np

from jaxseg.data import index, source
from jaxseg.errors import UserError

# Parted streams of random numbers.
_FRAMES, _PAIRS, _CLIPS, FLIPS, AUGMENTATION = range(5)


def frame_indices(
    frames: source.FrameSource, seed: int, step: int, batch: int
) -> np.ndarray:
    """Return `batch` frames with labels, int64 [batch], drawn with replacement.

    Raises UserError where no frame has labels.
    """
    labelled = _labelled(frames)
    return labelled[generator(seed, step, _FRAMES).integers(0, len(labelled), batch)]


def pair_indices(
    frames: source.FrameSource,
    seed: int,
    step: int,
    batch: int,
    max_gap: int = 30,
    min_gap: int = 1,
) -> np.ndarray:
    """Return pairs (key, current) of one run each, int64 [batch, 2].

    The key lies a gap of min_gap..max_gap frames before the current frame, which has
    labels; the gap is drawn uniformly (among those that some run is long enough for),
    then the pair uniformly among all with that gap. Raises UserError where no labelled
    frame has one before it, or none has labels.
    """
    labelled = _labelled(frames)
    room = _frames_before(frames.runs, labelled)
    longest = min(max_gap, room.max())
    if longest < max(min_gap, 1):
        raise UserError(
            f"split {frames.split}: labelled frames have at most {room.max()} "
            f"consecutive ones before them; expected {max(min_gap, 1)} or more for "
            "pairs; prepare a set with whole videos"
        )
    rng = generator(seed, step, _PAIRS)
    gaps = rng.integers(min_gap, longest + 1, batch)
    current = np.empty(batch, np.int64)
    for gap in np.unique(gaps):
        chosen = gaps == gap
        eligible = labelled[room >= gap]
        current[chosen] = eligible[rng.integers(0, len(eligible), chosen.sum())]
    return np.stack([current - gaps, current], axis=1)


def clip_starts(
    frames: source.FrameSource, seed: int, step: int, num_clips: int, length: int
) -> np.ndarray:
    """Return starts of clips of `length` frames, int64 [num_clips].

    Uniform over all places where a clip fits into a run. Raises UserError naming the
    longest run where it fits nowhere.
    """
    longest = _longest(frames.runs)
    if longest < length:
        raise UserError(
            f"split {frames.split}: the longest run has {longest} consecutive frames; "
            f"expected {length} for a clip; shorten the clips or prepare longer videos"
        )
    return _starts(frames.runs, length, generator(seed, step, _CLIPS), num_clips)


def spread_clips(frames: source.FrameSource, num_clips: int, length: int) -> np.ndarray:
    """Return starts of clips of `length` frames, spread evenly over the split.

    int64 [num_clips], without chance: with V videos of just that length and V clips,
    every video gives one. Raises UserError where a clip fits nowhere, or where there
    are fewer places than clips.
    """
    places = np.concatenate(
        [np.arange(r.start, r.start + r.length - length + 1) for r in frames.runs]
    )
    if len(places) < num_clips:
        raise UserError(
            f"split {frames.split}: {len(places)} places for clips of {length} frames, "
            f"the longest run has {_longest(frames.runs)}; expected {num_clips}; ask "
            "for fewer or shorter clips or prepare longer videos"
        )
    share = (np.arange(num_clips) + 0.5) / num_clips
    return places[(share * len(places)).astype(np.int64)].astype(np.int64)


def generator(seed: int, step: int, stream: int) -> np.random.Generator:
    """Return the random numbers of a step for one purpose (`FLIPS`, `AUGMENTATION`)."""
    return np.random.default_rng((seed, step, stream))


def _labelled(frames: source.FrameSource) -> np.ndarray:
    if not len(frames.labelled):
        raise UserError(
            f"split {frames.split}: none of its {len(frames)} frames has labels; "
            "expected some; choose another split"
        )
    return frames.labelled


def _frames_before(runs: Sequence[index.Run], records: np.ndarray) -> np.ndarray:
    """Return how many frames of its run lie before each record, int64 [records]."""
    starts = np.array([run.start for run in runs])
    return records - starts[np.searchsorted(starts, records, side="right") - 1]


def _longest(runs: Sequence[index.Run]) -> int:
    return max(run.length for run in runs)


def _starts(
    runs: Sequence[index.Run], length: int, rng: np.random.Generator, count: int
) -> np.ndarray:
    first = np.array([run.start for run in runs])
    room = np.maximum([run.length - length + 1 for run in runs], 0)
    ends = np.cumsum(room)
    place = rng.integers(0, ends[-1], count)
    run = np.searchsorted(ends, place, side="right")
    return first[run] + place - (ends[run] - room[run])
