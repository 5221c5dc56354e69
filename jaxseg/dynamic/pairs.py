"""Pair tables: D_{i->k} and U_a0 of every pair k < i of a clip, computed in batches.

With N and F frozen a trial's results depend on pairs alone, so a table turns the
rollout into look-ups. P = T (T - 1) / 2 pairs, those of frame i starting at
i (i - 1) / 2.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.dynamic.types import Pair, PairFn
from jaxseg.types import Array


class PairTable(NamedTuple):
    """Every pair of one clip, or of C clips with a leading axis."""

    deviations: Any  # [P, ...]
    scores: Array  # [P] U_a0
    key_scores: Array  # [T] U_a1


class PooledEpisode(NamedTuple):
    """One clip of a pool of tables."""

    clip: Array  # [] int32
    key_scores: Array  # [T]


def pair_row(key_frame: Array, frame: Array) -> Array:
    """Return the row of the pair (k, i) in a table."""
    return frame * (frame - 1) // 2 + key_frame


def all_pairs(num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return key frames and frames ([P] int32 each) in the order of the rows."""
    frames, keys = np.tril_indices(num_frames, -1)
    return keys.astype(np.int32), frames.astype(np.int32)


def tabled_pair(variables: Any, table: PairTable, key_frame, frame) -> Pair:
    """Look a pair up in the table of a clip (a `PairFn`; variables are not used)."""
    row = pair_row(key_frame, frame)
    deviation = jax.tree.map(lambda x: _widen(x[row]), table.deviations)
    return Pair(deviation, table.scores[row])


def pooled_pair(pool: PairTable, episode: PooledEpisode, key_frame, frame) -> Pair:
    """Look a pair up in a pool of C tables (a `PairFn`; the pool is the variables)."""
    row = pair_row(key_frame, frame)
    deviation = jax.tree.map(lambda x: _widen(x[episode.clip, row]), pool.deviations)
    return Pair(deviation, pool.scores[episode.clip, row])


def _widen(x: Array) -> Array:
    return x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x


def build_table(
    pair_fn: PairFn,
    variables: Any,
    episode: Any,
    *,
    batch_size: int = 256,
    dtype: Any = np.float16,
    progress: Callable[[int], None] | None = None,
) -> PairTable:
    """Compute the table of one episode on the device, batch by batch.

    Args:
      dtype: of stored deviations that are floating; scores stay float32.
      progress: called with the number of pairs finished since the last call.

    Returns:
      A table of numpy arrays.
    """
    keys, frames = all_pairs(episode.key_scores.shape[0])
    pairs = evaluate_pairs(
        pair_fn,
        variables,
        episode,
        keys,
        frames,
        batch_size=batch_size,
        dtype=dtype,
        progress=progress,
    )
    return PairTable(
        pairs.deviation, pairs.non_key_score, np.asarray(episode.key_scores)
    )


def evaluate_pairs(
    pair_fn: PairFn,
    variables: Any,
    episode: Any,
    keys: np.ndarray,
    frames: np.ndarray,
    *,
    batch_size: int,
    dtype: Any = np.float32,
    progress: Callable[[int], None] | None = None,
) -> Pair:
    """Evaluate `pair_fn` on P pairs ([P] key frames, [P] frames) in equal batches."""
    parts = []
    for start in range(0, len(keys), batch_size):
        index = np.arange(start, start + batch_size).clip(max=len(keys) - 1)
        pairs = _batched(pair_fn)(variables, episode, keys[index], frames[index])
        count = min(batch_size, len(keys) - start)
        deviation = jax.tree.map(
            lambda x, count=count: _narrow(np.asarray(x)[:count], dtype),
            pairs.deviation,
        )
        parts.append(Pair(deviation, np.asarray(pairs.non_key_score)[:count]))
        if progress is not None:
            progress(count)
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def _narrow(x: np.ndarray, dtype: Any) -> np.ndarray:
    # NumPy does not count bfloat16 among its floating types.
    return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x


@functools.lru_cache(maxsize=8)
def _batched(pair_fn: PairFn) -> Callable:
    return jax.jit(jax.vmap(pair_fn, in_axes=(None, None, 0, 0)))
