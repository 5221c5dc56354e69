"""A mini-batch of episodes on one device against several, equal and with one sum."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxseg import dynamic
from jaxseg.benchmark import scene, training, turns
from jaxseg.learning import shared, units
from jaxseg.runtime import parallel

_COUNTS = (1, 2, 4, 8)
_COLLECTIVES = ("psum", "all_gather", "all_to_all", "ppermute", "reduce_scatter")
_SHAPE = (9, 9, 384)  # of a deviation at 513 x 513


def compare(
    frames: int, trials: int, episodes: int, repeats: int
) -> Iterator[turns.Comparison]:
    """Time rollouts and the gradient of E episodes over 1, 2, 4 and 8 devices.

    As many as there are, where episodes divide over them. Pairs come from tables, so
    the policy alone is timed. Devices of a CPU are simulated: they share its cores.

    Raises:
      UserError: the gradients of one device and of several do not agree.
    """
    pool, given = _pool(frames, episodes)
    batch = units.make_units(
        dynamic.PooledEpisode(np.arange(episodes, dtype=np.int32), pool.key_scores),
        episodes,
        trials,
        1,
    )
    params = scene.policy_variables(given, scene.LATE)
    gradient = shared.gradient_fn(
        training.recipe_of(given), dynamic.pooled_pair, given.policy
    )
    arguments = params, pool, batch, jax.random.key(0)
    there = len(jax.local_devices())
    counts = [n for n in _COUNTS if n <= there and episodes % n == 0]
    programs = {
        n: parallel.data_parallel(gradient, (None, None, 0, None), num_devices=n)
        for n in counts
    }
    run = lambda n: jax.block_until_ready(programs[n](*arguments))
    spent, found = {}, {}
    for n in counts:
        found[n], spent[n] = turns.timed(functools.partial(run, n))
    differences = {
        n: training.check(f"{n} devices", found[n][0], found[1][0]) for n in counts
    }
    seconds = turns.run({n: functools.partial(run, n) for n in counts}, repeats)
    kind = "simulated device" if jax.default_backend() == "cpu" else "device"
    for n in counts:
        sent, within = collectives(gradient, n, arguments)
        facts = {
            "devices": n,
            "episodes": episodes,
            "trials": trials,
            "frames": frames,
            "averaged_arrays": sent,
            "averaged_in_loops": within,
            "distinct_pairs": float(found[n][1]["pairs"]) * n,
        }
        yield turns.compare(
            f"{n} {kind}{'s' * (n > 1)}",
            "one device",
            seconds[n],
            seconds[1],
            spent[n],
            differences[n],
            facts,
        )


def collectives(gradient: Callable, count: int, arguments: tuple) -> tuple[int, int]:
    """Return how many arrays a per-device function sends, and how many in its loops.

    A collective in a loop or branch would have devices wait for one another there.
    """
    mesh = jax.sharding.Mesh(np.array(jax.local_devices()[:count]), (parallel.AXIS,))
    whole, parts = P(), P(parallel.AXIS)
    mapped = jax.shard_map(
        gradient,
        mesh=mesh,
        in_specs=(whole, whole, parts, whole),
        out_specs=whole,
        check_vma=False,
    )
    return _count(jax.make_jaxpr(mapped)(*arguments).jaxpr)


def _count(jaxpr) -> tuple[int, int]:
    total = within = 0
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        total += name in _COLLECTIVES
        for value in jax.tree.leaves(tuple(equation.params.values())):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                found, nested = _count(inner)
                total += found
                within += found if name in ("while", "cond", "scan") else nested
    return total, within


def _pool(frames, episodes) -> tuple[dynamic.PairTable, scene.Scene]:
    """Return tables of E clips, [E, ...], and what rolls out over them."""
    made = [scene.policy_only(_SHAPE, frames, seed) for seed in range(episodes)]
    pool = jax.tree.map(lambda *x: jnp.concatenate(x), *(one.episodes for one in made))
    return pool, made[0]
