"""The exact offline optimum: the best schedule that a number of keys allows.

With frozen networks the score of a schedule is a sum over its key stretches, so the
best one with n keys is a longest path, found by dynamic programming over the last
key. No scheduler, online or not, can be better; it is the bound of every curve.
"""

from typing import NamedTuple

import numpy as np

from jaxseg.dynamic import pairs


class Optimum(NamedTuple):
    """Best totals of one video for 1, 2, ... N keys, frame 0 always key."""

    totals: np.ndarray  # [N] sum of the scores of all T frames
    previous: np.ndarray  # [N, T+1] int32, the last of n keys before frame j

    def schedule(self, num_keys: int) -> np.ndarray:
        """Return the best schedule with `num_keys` keys, [T] bool."""
        num_frames = self.previous.shape[1] - 1
        keys = np.zeros(num_frames, bool)
        frame = num_frames
        for n in range(num_keys - 1, -1, -1):
            frame = self.previous[n, frame]
            keys[frame] = True
        return keys


def dense_scores(scores: np.ndarray, num_frames: int) -> np.ndarray:
    """Spread the scores of a pair table ([P]) to U[k, i], [T, T], NaN elsewhere."""
    table = np.full((num_frames, num_frames), np.nan)
    keys, frames = pairs.all_pairs(num_frames)
    table[keys, frames] = scores
    return table


def optimum(
    scores: np.ndarray, key_scores: np.ndarray, *, max_keys: int | None = None
) -> Optimum:
    """Find the best schedules of a video by dynamic programming.

    Args:
      scores: [T, T] U[k, i] for k < i; NaN where a pair was not computed, which the
        schedules then avoid (a gap limit).
      key_scores: [T] U_a1.
      max_keys: largest number of keys, T by default.
    """
    num_frames = len(key_scores)
    max_keys = min(max_keys or num_frames, num_frames)
    stretch = _stretch_totals(scores, key_scores)
    best = stretch[0]  # [T+1] frames before j covered by the key at frame 0
    totals, previous = [best[num_frames]], [np.zeros(num_frames + 1, np.int32)]
    for _ in range(1, max_keys):
        through = best[:num_frames, None] + stretch  # [k, j]: a further key at k
        last = through.argmax(axis=0).astype(np.int32)
        best = np.take_along_axis(through, last[None], axis=0)[0]
        totals.append(best[num_frames])
        previous.append(last)
    return Optimum(np.asarray(totals), np.stack(previous))


def _stretch_totals(scores, key_scores):
    """Return [k, j]: U_a1 of k plus U[k, i] over k < i < j; -inf where j <= k."""
    num_frames = len(key_scores)
    gains = np.triu(np.where(np.isnan(scores), -np.inf, scores), 1)
    totals = np.full((num_frames, num_frames + 1), -np.inf)
    totals[:, 1:] = np.cumsum(gains, axis=1) + np.asarray(key_scores, float)[:, None]
    frame, key = np.arange(num_frames + 1)[None], np.arange(num_frames)[:, None]
    totals[frame <= key] = -np.inf
    return totals


def combine(totals: list[np.ndarray]) -> np.ndarray:
    """Return the best total of several videos for every common number of keys.

    Args:
      totals: per video [N_v], best total with 1 .. N_v keys.

    Returns:
      [sum N_v + 1]; entry n is the best total with n keys in all, -inf where n is
      less than one key a video. Exact: a (max, +) convolution, no concavity assumed.
    """
    best = np.zeros(1)
    for video in totals:
        merged = np.full(len(best) + len(video), -np.inf)
        for keys, total in enumerate(video, start=1):
            merged[keys : keys + len(best)] = np.maximum(
                merged[keys : keys + len(best)], best + total
            )
        best = merged
    return best
