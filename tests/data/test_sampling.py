from typing import NamedTuple

import numpy as np
import pytest

from jaxseg.data import index, sampling
from jaxseg.errors import UserError


class Frames(NamedTuple):
    """The parts of a source that drawing needs."""

    runs: tuple
    split: str = "A"

    @property
    def labelled(self):
        return np.arange(len(self))

    def __len__(self):
        return sum(run.length for run in self.runs)


def frames_of(*lengths):
    starts = np.cumsum([0, *lengths])
    return Frames(tuple(index.Run(0, int(s), n) for s, n in zip(starts, lengths)))


def same_run(frames, first, last):
    return any(
        run.start <= first and last < run.start + run.length for run in frames.runs
    )


DRAWS = {
    "frames": lambda frames, seed, step: sampling.frame_indices(frames, seed, step, 64),
    "pairs": lambda frames, seed, step: sampling.pair_indices(frames, seed, step, 64),
    "clips": lambda frames, seed, step: sampling.clip_starts(frames, seed, step, 64, 9),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_seed_and_step_alone_decide(draw):
    frames = frames_of(50, 3, 40)
    first = draw(frames, 1, 7)
    np.testing.assert_array_equal(first, draw(frames, 1, 7))
    assert (first != draw(frames, 1, 8)).any()
    assert (first != draw(frames, 2, 7)).any()
    assert (first != draw(frames, 7, 1)).any()
    assert (first != draw(frames, 0, 8)).any()


def test_frames_are_uniform():
    frames = frames_of(7, 3)
    counts = np.bincount(
        np.concatenate([sampling.frame_indices(frames, 0, s, 100) for s in range(100)]),
        minlength=10,
    )
    assert np.abs(counts - 1000).max() < 150


def test_pairs_stay_in_runs_with_uniform_gaps_of_1_to_30():
    frames = frames_of(60, 1, 35, 4)
    pairs = np.concatenate(
        [sampling.pair_indices(frames, 0, step, 100) for step in range(60)]
    )
    assert all(same_run(frames, key, current) for key, current in pairs)
    gaps = np.bincount(pairs[:, 1] - pairs[:, 0], minlength=31)
    assert gaps[0] == 0 and len(gaps) == 31
    assert np.abs(gaps[1:] - 200).max() < 70
    # A gap of 30 fits 30 times into the run of 60 and 5 times into that of 35.
    wide = pairs[pairs[:, 1] - pairs[:, 0] == 30, 0]
    assert 0.7 < (wide < 60).mean() < 0.99


def test_gaps_no_run_has_room_for_are_left_out():
    frames = frames_of(4, 2)
    pairs = sampling.pair_indices(frames, 0, 0, 500)
    assert set(pairs[:, 1] - pairs[:, 0]) == {1, 2, 3}
    assert all(same_run(frames, key, current) for key, current in pairs)


def test_clips_are_uniform_over_the_places_where_they_fit():
    frames = frames_of(5, 8, 3, 6)  # a clip of 5 fits at 0; 5..8; nowhere; 16, 17
    starts = np.concatenate(
        [sampling.clip_starts(frames, 0, step, 70, 5) for step in range(100)]
    )
    places, counts = np.unique(starts, return_counts=True)
    assert places.tolist() == [0, 5, 6, 7, 8, 16, 17]
    assert np.abs(counts - 1000).max() < 150


def test_clips_longer_than_every_run_are_an_error_with_the_longest():
    with pytest.raises(UserError, match="longest run has 8 .* expected 9 for a clip"):
        sampling.clip_starts(frames_of(5, 8, 3), 0, 0, 4, 9)


def test_single_frames_give_no_pairs():
    with pytest.raises(UserError, match="at most 0 consecutive ones before"):
        sampling.pair_indices(frames_of(1, 1), 0, 0, 4)


def test_spread_clips_cover_the_split_evenly():
    videos = frames_of(12, 12, 12)
    np.testing.assert_array_equal(sampling.spread_clips(videos, 3, 12), [0, 12, 24])
    starts = sampling.spread_clips(frames_of(100, 40), 20, 10)
    assert (np.diff(starts) > 0).all() and len(starts) == 20
    assert all(same_run(frames_of(100, 40), s, s + 9) for s in starts)


def test_more_spread_clips_than_places_are_an_error():
    with pytest.raises(UserError, match="3 places.*longest run has 12.*expected 4"):
        sampling.spread_clips(frames_of(12, 12, 12), 4, 12)
