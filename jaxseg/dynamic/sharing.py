"""Pairs that trials share: found once, evaluated once, kept in a list.

All trials of a rollout are at the same frame i at the same time, so trials of an
episode with the same last key k share all that depends on the pair (k, i) alone: F, its
deviation, what the scheduler looks at, U_a0.

P policies, E episodes of T frames, B pairs evaluated together, M slots of a list.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.dynamic.types import Episode, Pair, PairFn, Scheduler
from jaxseg.types import Array

_FEW = (1, 2, 4, 8, 12, 16, 24)  # where there can be 32 at most
_MANY = (
    4,
    8,
    16,
    32,
    64,
    96,
)  # then every power of two from 128 on, and half as much more


class Sharing(NamedTuple):
    """How shared pairs are evaluated (static); it changes results by rounding alone."""

    # Sizes of the batches of distinct pairs, ascending; each is compiled. Empty chooses
    # them by the largest number of pairs that a frame can have.
    buckets: tuple[int, ...] = ()
    # Keep what is seen of every pair, for a gradient.
    keep_seen: bool = False
    # Room for deviations, for a gradient; None is room for all that there can be.
    kept: int | None = 0
    # Pairs whose U_a0 is computed together.
    score_batch: int = 32
    # Pairs that go through the scheduler's trunk together, forwards and backwards.
    gradient_batch: int = 128


DEFAULT_SHARING = Sharing()


class Distinct(NamedTuple):
    """The distinct pairs that trials met, in the order of their frames.

    M slots, of which the first `count` mean something.
    """

    episode: Array  # [M] int32
    key_frame: Array  # [M] int32
    frame: Array  # [M] int32
    # [P, M, ...] what each policy's `look` makes of a pair; None where not kept
    seen: Any
    deviation: Any  # [kept, ...] of the first `stored` pairs; None without room
    count: Array  # [] int32
    stored: Array  # [] int32


def bucket_sizes(limit: int) -> tuple[int, ...]:
    """Return batch sizes up to `limit`, so close that little is computed in vain."""
    if limit <= 32:
        return (*(size for size in _FEW if size < limit), limit)
    sizes, size = list(_MANY), 128
    while size < limit:
        sizes += [size, size + size // 2]
        size *= 2
    return (*(size for size in sizes if size < limit), limit)


def pair_limit(num_trials: int, num_episodes: int, num_frames: int) -> int:
    """Return how many distinct pairs trials can meet at all, at most.

    Args:
      num_trials: of all policies and episodes together.
    """
    return sum(min(num_trials, num_episodes * frame) for frame in range(1, num_frames))


def find(
    key_frames: Array, done: Array, num_frames: int, most: int
) -> tuple[Array, Array, Array]:
    """Find the distinct pairs of the trials that are alive, at one frame.

    Presence and a running sum do it, without sorting.

    Args:
      key_frames, done: [P, E, K] of the trials.
      most: pairs that there can be.

    Returns:
      [most] int32 slots e * T + k, ascending, zeros behind; [P, E, K] which of them a
      trial has (0 where it has ended); [] how many there are.
    """
    num_episodes = key_frames.shape[1]
    total = num_episodes * num_frames
    slot = jnp.arange(num_episodes)[:, None] * num_frames + key_frames
    present = jnp.zeros(total, bool)
    present = present.at[jnp.where(done, total, slot)].set(True, mode="drop")
    order, rank, count = compact(present, most)
    return order, jnp.where(done, 0, rank[slot]), count


def compact(chosen: Array, size: int) -> tuple[Array, Array, Array]:
    """List the chosen of a row of flags [n].

    Returns:
      [size] int32 their indices, ascending, zeros behind; [n] the place of each in that
      list; [] how many there are.
    """
    rank = jnp.cumsum(chosen) - 1
    order = jnp.zeros(size, jnp.int32)
    indices = jnp.arange(len(chosen), dtype=jnp.int32)
    order = order.at[jnp.where(chosen, rank, size)].set(indices, mode="drop")
    return order, rank, rank[-1] + 1


def evaluate(
    pair_fn: PairFn,
    variables: Any,
    episodes: Any,
    episode: Array,
    key_frame: Array,
    frame: Array,
) -> Pair:
    """Return the pairs of B episodes ([B]), key frames [B] and frames ([B] or [])."""
    axes = (0, 0 if jnp.ndim(frame) else None)
    if isinstance(episodes, Episode):
        # Gathering whole episodes for every pair would move gigabytes.
        joined = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), episodes)
        count, num_frames = episodes.key_scores.shape
        if count > 1:
            begin = episode * num_frames
            key_frame, frame, axes = begin + key_frame, begin + frame, (0, 0)
        one = lambda k, i: pair_fn(variables, joined, k, i)
        return jax.vmap(one, axes)(key_frame, frame)

    def one(e, k, i):
        return pair_fn(variables, jax.tree.map(lambda x: x[e], episodes), k, i)

    return jax.vmap(one, (0, *axes))(episode, key_frame, frame)


def over_policies(fn: Callable, count: int) -> Callable:
    """Map `fn` over the leading axis P of all its arguments; one needs no vmap.

    A network with one set of weights runs as it would alone.
    """

    def mapped(*args):
        if count > 1:
            return jax.vmap(fn, axis_size=count)(*args)
        alone = fn(*jax.tree.map(lambda x: x[0], args))
        return jax.tree.map(lambda x: x[None], alone)

    return mapped


def look_all(scheduler: Scheduler, params: Any, deviation: Any, count: int) -> Any:
    """Return what P policies see of B deviations, [P, B, ...].

    Args:
      params: of the scheduler, leading axis P.
      deviation: [B, ...].
      count: P.
    """

    def one(params):
        return jax.vmap(scheduler.look, (None, 0))(params, deviation)

    return over_policies(one, count)(params)


def no_pairs(deviation: Any, seen: Any, limit: int, how: Sharing) -> Distinct:
    """Return a list without pairs, with room for a batch more than M slots.

    Args:
      deviation, seen: shapes of a batch, [B, ...] and [P, B, ...].
      limit: M.
    """
    batch = len(jax.tree.leaves(deviation)[0])
    room = limit + batch
    kept = room if how.kept is None else min(how.kept, room)
    empty, none = jnp.zeros(room, jnp.int32), jnp.int32(0)

    def seen_room(x):
        return jnp.zeros((x.shape[0], room, *x.shape[2:]), x.dtype)

    def deviation_room(x):
        return jnp.zeros((kept, *x.shape[1:]), x.dtype)

    return Distinct(
        empty,
        empty,
        empty,
        jax.tree.map(seen_room, seen) if how.keep_seen else None,
        jax.tree.map(deviation_room, deviation) if kept >= batch else None,
        none,
        none,
    )


def append(pairs: Distinct, new: Distinct) -> Distinct:
    """Append the first `new.count` of a batch of pairs; the rest is overwritten."""
    at, batch = pairs.count, len(new.frame)

    def put(axis):
        return lambda x, rows: jax.lax.dynamic_update_slice_in_dim(x, rows, at, axis)

    seen, deviation, stored = pairs.seen, pairs.deviation, pairs.stored
    if seen is not None:
        seen = jax.tree.map(put(1), seen, new.seen)
    if deviation is not None:
        fits = at + batch <= len(jax.tree.leaves(deviation)[0])
        # What finds no room is written over what is there already.
        keep = lambda x, rows: put(0)(
            x, jnp.where(fits, rows, jax.lax.dynamic_slice_in_dim(x, at, batch))
        )
        deviation = jax.tree.map(keep, deviation, new.deviation)
        stored = jnp.where(fits, at + new.count, stored)
    return Distinct(
        *(put(0)(x, rows) for x, rows in zip(pairs[:3], new[:3])),
        seen,
        deviation,
        at + new.count,
        stored,
    )


def cut(pairs: Distinct, limit: int) -> Distinct:
    """Take the room for a batch more off a list of M slots."""
    return pairs._replace(
        episode=pairs.episode[:limit],
        key_frame=pairs.key_frame[:limit],
        frame=pairs.frame[:limit],
        seen=jax.tree.map(lambda x: x[:, :limit], pairs.seen),
    )


def scores(
    evaluate_fn: Callable[[Array, Array, Array], Pair],
    pairs: Distinct,
    needed: Array,
    batch: int,
) -> Array:
    """Return U_a0 [M] of the pairs that are needed ([M] bool), 0 of the others.

    Args:
      evaluate_fn: episode, key frame and frame [B] -> pairs [B].
      batch: B.
    """
    limit = len(needed)
    batch = min(batch, limit)
    order, _, count = compact(needed, limit + batch)

    def one(carry):
        begun, found = carry
        index = jax.lax.dynamic_slice_in_dim(order, begun, batch)
        new = evaluate_fn(*(x[index] for x in pairs[:3])).non_key_score
        is_real = begun + jnp.arange(batch) < count
        at = jnp.where(is_real, index, limit)
        return begun + batch, found.at[at].set(new, mode="drop")

    start = (jnp.int32(0), jnp.zeros(limit))
    return jax.lax.while_loop(lambda carry: carry[0] < count, one, start)[1]
