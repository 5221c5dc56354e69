"""Rollouts that share pairs against the plain ones, on the same networks and draws."""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import dynamic
from jaxseg.benchmark import scene, turns
from jaxseg.errors import UserError

REWARD_TOLERANCE = 1e-4


class Sizes(NamedTuple):
    """How large the cases are."""

    size: int = 129  # pixels of a side
    frames: int = 120
    trials: int = 32
    episodes: int = 4  # of the case "folded", at half the size and the frames
    policies: int = 8  # of the case "population"


class Comparison(NamedTuple):
    """Two programs that do the same."""

    case: str
    against: str  # what the ratio is the time of, over ours
    seconds: float  # ours, wall
    ratio: float  # of wall time
    cpu_ratio: float  # of processor time, NaN off the CPU
    compile_seconds: float  # ours
    difference: float  # largest of the results
    facts: dict[str, float]


def compare(sizes: Sizes, repeats: int) -> Iterator[Comparison]:
    """Time every case.

    late, early: one episode, all trials, against the plain rollout under vmap, whose
      every trial runs all of F on every frame to the end; see `scene.LATE`.
    folded: several episodes at once against one after another, and against the rollout
      of one episode under vmap.
    population: several policies at once against one after another.

    Raises:
      UserError: two programs do not agree.
    """
    one = scene.make(sizes.size, sizes.frames, 1)
    for habit in (scene.LATE, scene.UNDECIDED, scene.EARLY):
        yield _against_plain(one, habit, sizes, repeats)
    yield _population(one, sizes, repeats)
    side = (sizes.size + 1) // 2
    several = scene.make(side, max(2, sizes.frames // 2), sizes.episodes)
    yield from _folded(several, sizes, repeats)


def _against_plain(given, habit, sizes, repeats) -> Comparison:
    params = _params(given, habit)
    rngs = scene.rngs(0, 1, sizes.trials)
    ours, spent = _compiled(_shared(given), params, rngs, given.episodes)
    plain, _ = _compiled(_plain(given), params, rngs, given.episodes)
    found = jax.block_until_ready(ours(params, rngs, given.episodes))
    expected = plain(params, rngs, given.episodes)
    difference = _check(habit.name, found.trials, expected)
    seconds = turns.run(
        {
            "plain": lambda: jax.block_until_ready(plain(params, rngs, given.episodes)),
            "ours": lambda: jax.block_until_ready(ours(params, rngs, given.episodes)),
        },
        repeats,
    )
    steps = int(expected.valid.sum())
    pairs = int(found.distinct.count)
    facts = {
        "decisions": steps,
        "distinct_pairs": pairs,
        "paid_pairs": _paid_pairs(found),
        "pairs_per_second": pairs / seconds["ours"].wall,
        "plain_seconds": seconds["plain"].wall,
        "temporary_mb": _temporary(ours),
        "plain_temporary_mb": _temporary(plain),
    }
    return _comparison(
        habit.name, "plain", "plain rollout, vmap", seconds, spent, difference, facts
    )


def _folded(given, sizes, repeats) -> Iterator[Comparison]:
    count = len(given.episodes.key_scores)
    params = _params(given, scene.LATE)
    rngs = scene.rngs(0, count, sizes.trials)
    single = [_take(given.episodes, slice(e, e + 1)) for e in range(count)]

    def vmapped(params, rngs, episodes):
        run = _shared(given)
        return jax.vmap(lambda r, e: run(params, r[None], _add_axis(e)))(rngs, episodes)

    ours, spent = _compiled(_shared(given), params, rngs, given.episodes)
    alone, _ = _compiled(_shared(given), params, rngs[:1], single[0])
    under_vmap, _ = _compiled(vmapped, params, rngs, given.episodes)
    found = jax.block_until_ready(ours(params, rngs, given.episodes))
    other = under_vmap(params, rngs, given.episodes).trials
    other = jax.tree.map(lambda x: x[:, 0], other)
    difference = _check("folded", found.trials, other)

    def one_by_one():
        for index, episode in enumerate(single):
            jax.block_until_ready(alone(params, rngs[index : index + 1], episode))

    seconds = turns.run(
        {
            "vmap": lambda: jax.block_until_ready(
                under_vmap(params, rngs, given.episodes)
            ),
            "alone": one_by_one,
            "ours": lambda: jax.block_until_ready(ours(params, rngs, given.episodes)),
        },
        repeats,
    )
    facts = {
        "episodes": count,
        "distinct_pairs": int(found.distinct.count),
        "pairs_per_second": int(found.distinct.count) / seconds["ours"].wall,
    }
    for key, against in (("vmap", "vmap over episodes"), ("alone", "one by one")):
        yield _comparison("folded", key, against, seconds, spent, difference, facts)


def _population(given, sizes, repeats) -> Comparison:
    """Compare P policies of a habit, other weights and draws each, with one by one."""
    count = sizes.policies
    policies = [
        scene.policy_variables(given, scene.LATE, seed) for seed in range(count)
    ]
    rngs = jnp.stack([scene.rngs(seed, 1, sizes.trials) for seed in range(count)])
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *policies)
    caps = jnp.full(count, scene.CAP)
    budgets = jnp.full(count, scene.LATE.budget)
    params = dynamic.RolloutParams(given.variables, (stacked, caps), budgets)
    together, spent = _compiled(
        _shared(given, dynamic.rollout_population), params, rngs, given.episodes
    )
    each = [
        dynamic.RolloutParams(given.variables, (policy, caps[0]), budgets[0])
        for policy in policies
    ]
    alone, _ = _compiled(_shared(given), each[0], rngs[0], given.episodes)
    found = jax.block_until_ready(together(params, rngs, given.episodes))
    differences, pairs = [], []
    for index in range(count):
        mine = alone(each[index], rngs[index], given.episodes)
        theirs = _take(found.trials, index)
        differences.append(_check("population", theirs, mine.trials))
        pairs.append(int(mine.distinct.count))

    def one_by_one():
        for index in range(count):
            jax.block_until_ready(alone(each[index], rngs[index], given.episodes))

    programs = {
        "alone": one_by_one,
        "ours": lambda: jax.block_until_ready(together(params, rngs, given.episodes)),
    }
    seconds = turns.run(programs, repeats)
    one_alone = seconds["alone"].processor / count
    if np.isnan(one_alone):
        one_alone = seconds["alone"].wall / count
        mine = seconds["ours"].wall
    else:
        mine = seconds["ours"].processor
    facts = {
        "policies": count,
        "distinct_pairs": int(found.distinct.count),
        "distinct_pairs_alone": float(np.mean(pairs)),
        # At most 1.2 is wanted: nothing but the pairs should cost.
        "time_over_pairs": (mine / one_alone)
        / (int(found.distinct.count) / float(np.mean(pairs))),
        "pairs_per_second": int(found.distinct.count) / seconds["ours"].wall,
    }
    return _comparison(
        "population", "alone", "one by one", seconds, spent, max(differences), facts
    )


def _params(given, habit) -> dynamic.RolloutParams:
    policy = scene.policy_variables(given, habit)
    return dynamic.RolloutParams(
        given.variables, (policy, jnp.float32(scene.CAP)), jnp.float32(habit.budget)
    )


def _shared(given, how: Callable = dynamic.rollout_episodes) -> Callable:
    return functools.partial(
        how, given.pair_fn, dynamic.sampled(given.policy), rules=given.rules
    )


def _plain(given) -> Callable:
    run = functools.partial(
        dynamic.rollout_trials,
        given.pair_fn,
        dynamic.sampled(given.policy),
        rules=given.rules,
    )

    def plain(params, rngs, episodes):
        # One episode, so that nothing but the trials is under vmap.
        trials = run(params, rngs[0], jax.tree.map(lambda x: x[0], episodes))
        return _add_axis(trials)

    return plain


def _compiled(fn, *arguments) -> tuple[Any, float]:
    begun = time.perf_counter()
    compiled = jax.jit(fn).lower(*arguments).compile()
    return compiled, time.perf_counter() - begun


def _check(case, found, expected) -> float:
    """Return the largest difference of the rewards; decisions must be equal."""
    valid = np.asarray(expected.valid)
    same = np.array_equal(found.valid, valid) and np.array_equal(
        np.asarray(found.action)[valid], np.asarray(expected.action)[valid]
    )
    difference = float(np.abs(np.subtract(found.reward, expected.reward)).max())
    if not same or not difference <= REWARD_TOLERANCE:
        raise UserError(
            f"the rollouts of the case {case} differ, "
            + (f"by {difference:.2g} in a reward" if same else "in their decisions")
            + f"; expected equal decisions and rewards to {REWARD_TOLERANCE:.0e}; this "
            "is a fault of jaxseg"
        )
    return difference


def _paid_pairs(found) -> int:
    paid = np.asarray(found.trials.reward) != 0
    return len(np.unique(np.asarray(found.pair)[paid]))


def _temporary(compiled) -> float:
    analysis = compiled.memory_analysis()
    return float("nan") if analysis is None else analysis.temp_size_in_bytes / 1e6


def _comparison(case, key, against, seconds, spent, difference, facts) -> Comparison:
    ours, other = seconds["ours"], seconds[key]
    return Comparison(
        case,
        against,
        ours.wall,
        other.wall / ours.wall,
        other.processor / ours.processor,
        spent,
        difference,
        facts,
    )


def _take(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


def _add_axis(tree):
    return jax.tree.map(lambda x: x[None], tree)
