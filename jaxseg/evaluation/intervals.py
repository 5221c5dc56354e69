"""Paired bootstrap over videos: frames of one video are not independent."""

from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean difference and its 95 % interval."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    differences: np.ndarray, weights: np.ndarray, *, draws: int = 10_000, seed: int = 0
) -> Interval:
    """Return the weighted mean of per-video differences with a percentile interval.

    Args:
      differences: [V] one method less the other, per video.
      weights: [V] frames of each video.
      draws: resamples of V videos with replacement.
    """
    differences, weights = np.asarray(differences, float), np.asarray(weights, float)
    chosen = np.random.default_rng(seed).integers(
        0, len(differences), (draws, len(differences))
    )
    means = (differences * weights)[chosen].sum(1) / weights[chosen].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(np.average(differences, weights=weights)), low, high)


def at_aki(target: float, akis: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolate a swept curve linearly in log AKI.

    Args:
      target: average key interval to read the curve at.
      akis: [V] average key intervals of the sweep, in any order; infinite where no
        key was chosen, which is no point of the curve.
      values: [V, ...] what was measured at each.

    Returns:
      [...]; NaN where the target lies outside the sweep.
    """
    akis, values = np.asarray(akis, float), np.asarray(values)
    order = np.argsort(akis)[: np.isfinite(akis).sum()]  # infinity comes last
    position, values = np.log(akis[order]), values[order]
    at = np.log(target)
    if not len(order) or not position[0] - 1e-9 <= at <= position[-1] + 1e-9:
        return np.full(values.shape[1:], np.nan)
    right = int(np.clip(np.searchsorted(position, at), 1, len(position) - 1))
    span = position[right] - position[right - 1]
    share = (at - position[right - 1]) / span if span > 0 else 0.0
    return (1 - share) * values[right - 1] + share * values[right]
