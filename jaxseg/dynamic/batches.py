"""Batches of a size that is known only when the program runs.

Some sizes are compiled; a scalar switch takes the next larger one, and more than the
largest go batch by batch. Never vmap this: the switch would become a select, which
computes every size.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxseg.ops import forms
from jaxseg.types import Array

# On a CPU the largest costs as little a pair as any larger one (measured at 129 x 129
# pixels); for a GPU that is a guess.
_CPU_BUCKETS = (1, 2, 3, 4, 5, 6, 8, 12, 16)
_GPU_BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64)


def look_sizes(limit: int) -> tuple[int, ...]:
    """Return batch sizes up to `limit` for what costs less than networks."""
    sizes = [2, 4, 8, 16]
    while sizes[-1] < limit:
        sizes += [sizes[-1] + sizes[-1] // 2, 2 * sizes[-1]]
    return (*(size for size in sizes if size < limit), limit)


def network_sizes(chosen: tuple[int, ...], limit: int) -> tuple[int, ...]:
    """Return the batch sizes of networks for up to `limit` pairs at a time.

    Args:
      chosen: ascending; empty for the platform's.
    """
    sizes = chosen or (_CPU_BUCKETS if forms.for_cpu() else _GPU_BUCKETS)
    if sizes[-1] < limit:
        return sizes
    return (*(size for size in sizes if size < limit), limit)


def score_size(chosen: int) -> int:
    """Return how many pairs are scored together; 0 for the platform's choice."""
    return chosen or (8 if forms.for_cpu() else 64)


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


def in_batches(
    evaluate_fn: Callable[[Array], Any],
    slots: Array,
    count: Array,
    sizes: tuple[int, ...],
) -> Any:
    """Evaluate the first `count` of some pairs, in batches of the sizes there are.

    Args:
      evaluate_fn: slots [B] -> results [B, ...].
      slots: [n].
      sizes: ascending.

    Returns:
      Results [n, ...]; those behind `count` mean nothing.
    """
    largest = sizes[-1]

    def branch(size):
        return lambda slots: pad(evaluate_fn(slots[:size]), largest - size)

    def batch(begun):
        which = jnp.searchsorted(jnp.array(sizes), jnp.minimum(count - begun, largest))
        part = jax.lax.dynamic_slice_in_dim(padded, begun, largest)
        return jax.lax.switch(which, [branch(size) for size in sizes], part)

    passes = -(-len(slots) // largest)
    padded = jnp.pad(slots, (0, passes * largest - len(slots)))
    if passes == 1:
        found = batch(jnp.int32(0))
    else:
        empty = jax.tree.map(
            lambda x: jnp.zeros((len(padded), *x.shape[1:]), x.dtype),
            jax.eval_shape(evaluate_fn, padded),
        )

        def advance(carry):
            begun, found = carry
            put = lambda x, new: jax.lax.dynamic_update_slice_in_dim(x, new, begun, 0)
            return begun + largest, jax.tree.map(put, found, batch(begun))

        start = jnp.int32(0), empty
        found = jax.lax.while_loop(lambda carry: carry[0] < count, advance, start)[1]
    return jax.tree.map(lambda x: x[: len(slots)], found)


def pad(tree: Any, count: int) -> Any:
    """Append `count` rows of zeros to every array."""
    zeros = lambda x: jnp.pad(x, [(0, count), *[(0, 0)] * (x.ndim - 1)])
    return jax.tree.map(zeros, tree) if count else tree
