"""How long the exact offline optimum of a video takes, on the host."""

from collections.abc import Iterator

import numpy as np

from jaxseg import dynamic
from jaxseg.benchmark import turns


def compare(frames: int, max_keys: int, repeats: int) -> Iterator[turns.Comparison]:
    """Time the dynamic programme over a drawn table U[k, i] of T x T scores.

    For budgets up to `max_keys` keys, and up to one key a frame.
    """
    draw = np.random.default_rng(0)
    scores = draw.uniform(0.2, 0.9, (frames, frames))
    key_scores = draw.uniform(0.5, 1.0, frames)
    for keys in (min(max_keys, frames), frames):
        program = lambda keys=keys: dynamic.optimum(scores, key_scores, max_keys=keys)
        seconds = turns.run({"": program}, repeats)[""]
        yield turns.measured(
            f"optimum, {keys} keys", seconds, 0.0, {"frames": frames, "keys": keys}
        )
