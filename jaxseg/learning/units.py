"""Cut a mini-batch of E episodes of K trials so that it divides over devices.

A unit is (a part of) the trials of one episode: E units of K trials, or, with fewer
episodes than devices, one unit a device of E K / D trials.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg.errors import UserError
from jaxseg.types import Array


class Units(NamedTuple):
    """A mini-batch, U units of k trials; the leading axis is split over devices."""

    episode: Any  # [U, ...] clips or pooled episodes
    episode_index: Array  # [U] int32, which episode of the mini-batch
    trials: Array  # [U, k] int32, which of its trials


def make_units(episodes: Any, num_episodes: int, trials: int, split: int) -> Units:
    """Cut E episodes (leading axis) of K trials into E * split units."""
    index = np.repeat(np.arange(num_episodes, dtype=np.int32), split)
    blocks = np.arange(trials, dtype=np.int32).reshape(split, -1)
    return Units(
        episode=jax.tree.map(
            lambda x: np.asarray(x) if split == 1 else np.asarray(x)[index], episodes
        ),
        episode_index=index,
        trials=np.tile(blocks, (num_episodes, 1)),
    )


def devices_per_episode(episodes: int, trials: int, num_devices: int) -> int:
    """Return over how many devices one episode's trials are split.

    Raises:
      UserError: neither episodes nor trials divide over the devices.
    """
    if episodes % num_devices == 0:
        return 1
    split = num_devices // episodes
    if num_devices % episodes or trials % split:
        raise UserError(
            f"found {episodes} episodes of {trials} trials for {num_devices} devices; "
            f"expected episodes to be a multiple of {num_devices}, or {num_devices} to "
            "be a multiple of the episodes with trials that divide by the quotient; "
            "change policy.episodes, policy.trials or runtime.devices"
        )
    return split
