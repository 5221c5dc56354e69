"""Pairs that trials share: found once, evaluated once, kept in a list.

All trials of a rollout are at the same frame i at the same time, so trials of an
episode with the same last key k share all that depends on the pair (k, i) alone: F, its
deviation, what the scheduler looks at, U_a0. The policies of a population share all of
these but what each of them looks at.

P policies, E episodes of T frames, B pairs evaluated together, M slots of the list of
all pairs, N of the list of those that one policy has met.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.dynamic import batches
from jaxseg.dynamic.types import Episode, Pair, PairFn, Scheduler
from jaxseg.types import Array


class Sharing(NamedTuple):
    """How shared pairs are evaluated (static); it changes results by rounding alone."""

    # Sizes of the batches of distinct pairs that networks run on, ascending; each is
    # compiled. More pairs than the largest go batch by batch. Empty: the platform's.
    buckets: tuple[int, ...] = ()
    # Keep what is seen of every pair, for a gradient.
    keep_seen: bool = False
    # Room for deviations, for a gradient; None is room for all that there can be.
    kept: int | None = 0
    # Pairs whose U_a0 is computed together; 0: the platform's.
    score_batch: int = 0
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
    deviation: Any  # [kept, ...] of the first `stored` pairs; None without room
    count: Array  # [] int32
    stored: Array  # [] int32


class Seen(NamedTuple):
    """What each policy saw of the distinct pairs that its own trials met.

    N slots a policy, of which the first `count` mean something.
    """

    pair: Array  # [P, N] int32, ascending: which of the distinct pairs
    value: Any  # [P, N, ...] what the policy's `look` makes of it
    count: Array  # [P] int32


class Found(NamedTuple):
    """The distinct pairs of one frame."""

    slot: Array  # [most] int32, e * T + k, ascending, zeros behind
    count: Array  # [] int32
    row: Array  # [P, E, K] int32, which of them a trial has (0 where it has ended)
    # The same for every policy, of the pairs that its own trials have.
    own: Array  # [P, own most] int32, which of the distinct pairs of the frame
    own_count: Array  # [P] int32
    own_row: Array  # [P, E, K] int32


def pair_limit(num_trials: int, num_episodes: int, num_frames: int) -> int:
    """Return how many distinct pairs trials can meet at all, at most.

    Args:
      num_trials: of all policies and episodes together.
    """
    return sum(min(num_trials, num_episodes * frame) for frame in range(1, num_frames))


def find(
    key_frames: Array, done: Array, num_frames: int, most: int, own_most: int
) -> Found:
    """Find the distinct pairs of the trials that are alive, at one frame.

    Presence and a running sum do it, without sorting.

    Args:
      key_frames, done: [P, E, K] of the trials.
      most, own_most: pairs that there can be, of all policies and of one.
    """
    num_policies, num_episodes, _ = key_frames.shape
    total = num_episodes * num_frames
    slot = jnp.arange(num_episodes)[:, None] * num_frames + key_frames

    def mark(slot, done):
        present = jnp.zeros(total, bool)
        return present.at[jnp.where(done, total, slot)].set(True, mode="drop")

    present = jax.vmap(mark)(slot, done)
    order, rank, count = batches.compact(present.any(0), most)
    own, own_rank, own_count = jax.vmap(lambda x: batches.compact(x, own_most))(present)
    own_row = jax.vmap(lambda rank, slot: rank[slot])(own_rank, slot)
    return Found(
        order,
        count,
        jnp.where(done, 0, rank[slot]),
        # Zeros stand behind a policy's own, and slot 0 may be nobody's.
        jnp.maximum(rank[own], 0),
        own_count,
        jnp.where(done, 0, own_row),
    )


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


def look_all(
    scheduler: Scheduler, params: Any, deviation: Any, found: Found, sizes: tuple
) -> Any:
    """Return what every policy sees of the pairs that its own trials have.

    Args:
      params: of the scheduler, leading axis P.
      deviation: [most, ...] of the pairs of the frame.
      sizes: batch sizes, the last is `own most`.

    Returns:
      [P, own most, ...]; those behind a policy's count mean nothing.
    """

    def branch(size):
        def one(params, own):
            mine = jax.tree.map(lambda x: x[own[:size]], deviation)
            seen = jax.vmap(scheduler.look, (None, 0))(params, mine)
            return batches.pad(seen, sizes[-1] - size)

        return lambda own: over_policies(one, len(own))(params, own)

    which = jnp.searchsorted(jnp.array(sizes), found.own_count.max())
    return jax.lax.switch(which, [branch(size) for size in sizes], found.own)


def no_pairs(deviation: Any, limit: int, kept: int | None) -> Distinct:
    """Return a list without pairs, with room for those of a frame more than M slots.

    Args:
      deviation: shapes of the pairs of a frame, [most, ...].
      limit: M.
      kept: room for deviations, None for all.
    """
    most = len(jax.tree.leaves(deviation)[0])
    room = limit + most
    kept = room if kept is None else min(kept, room)
    empty, none = jnp.zeros(room, jnp.int32), jnp.int32(0)
    zeros = lambda x: jnp.zeros((kept, *x.shape[1:]), x.dtype)
    stored = jax.tree.map(zeros, deviation) if kept >= most else None
    return Distinct(empty, empty, empty, stored, none, none)


def nothing_seen(value: Any, limit: int) -> Seen:
    """Return lists without entries, with room for those of a frame more than N slots.

    Args:
      value: shapes of what is seen at a frame, [P, own most, ...].
      limit: N.
    """
    count, most = jax.tree.leaves(value)[0].shape[:2]
    room = limit + most
    return Seen(
        jnp.zeros((count, room), jnp.int32),
        jax.tree.map(lambda x: jnp.zeros((count, room, *x.shape[2:]), x.dtype), value),
        jnp.zeros(count, jnp.int32),
    )


def append(pairs: Distinct, new: Distinct) -> Distinct:
    """Append the first `new.count` pairs of a frame; the rest is overwritten."""
    at, batch = pairs.count, len(new.frame)
    put = lambda x, rows: jax.lax.dynamic_update_slice_in_dim(x, rows, at, 0)
    deviation, stored = pairs.deviation, pairs.stored
    if deviation is not None:
        fits = at + batch <= len(jax.tree.leaves(deviation)[0])
        # What finds no room is written over what is there already.
        keep = lambda x, rows: put(
            x, jnp.where(fits, rows, jax.lax.dynamic_slice_in_dim(x, at, batch))
        )
        deviation = jax.tree.map(keep, deviation, new.deviation)
        stored = jnp.where(fits, at + new.count, stored)
    first = (put(x, rows) for x, rows in zip(pairs[:3], new[:3]))
    return Distinct(*first, deviation, at + new.count, stored)


def append_seen(seen: Seen, new: Seen) -> Seen:
    """Append the first `new.count` entries of every policy."""

    def one(x, rows, at):
        return jax.lax.dynamic_update_slice_in_dim(x, rows, at, 0)

    put = over_policies(
        lambda x, new, at: jax.tree.map(lambda x, rows: one(x, rows, at), x, new),
        len(seen.count),
    )
    lists = put(seen[:2], new[:2], seen.count)
    return Seen(*lists, seen.count + new.count)


def cut(pairs: Distinct, limit: int) -> Distinct:
    """Take the room for a frame more off a list of M slots."""
    return pairs._replace(
        episode=pairs.episode[:limit],
        key_frame=pairs.key_frame[:limit],
        frame=pairs.frame[:limit],
    )


def cut_seen(seen: Seen, limit: int) -> Seen:
    """Take the room for a frame more off lists of N slots."""
    return Seen(*jax.tree.map(lambda x: x[:, :limit], seen[:2]), seen.count)


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
    order, _, count = batches.compact(needed, limit + batch)

    def one(carry):
        begun, found = carry
        index = jax.lax.dynamic_slice_in_dim(order, begun, batch)
        new = evaluate_fn(*(x[index] for x in pairs[:3])).non_key_score
        is_real = begun + jnp.arange(batch) < count
        at = jnp.where(is_real, index, limit)
        return begun + batch, found.at[at].set(new, mode="drop")

    start = (jnp.int32(0), jnp.zeros(limit))
    return jax.lax.while_loop(lambda carry: carry[0] < count, one, start)[1]
