"""Rollouts that share pairs against the plain ones, on the same networks and draws."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

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
    policies: int = 8  # of the cases "population"


def compare(sizes: Sizes, repeats: int) -> Iterator[turns.Comparison]:
    """Time every case.

    late, early: one episode, all trials, against the plain rollout under vmap, whose
      every trial runs all of F on every frame to the end; see `scene`.
    population: several policies at once against one after another, of which all lean
      to the same frames ("alike") or each to its own ("apart").
    folded: several episodes at once against one after another, and against the rollout
      of one episode under vmap; half as many pixels a side, and frames.

    Raises:
      UserError: two programs do not agree.
    """
    one = scene.make(sizes.size, sizes.frames, 1)
    for habit in (scene.LATE, scene.UNDECIDED, scene.EARLY):
        yield _against_plain(one, habit, sizes, repeats)
    for alike in (True, False):
        yield _population(one, sizes, alike, repeats)
    side = (sizes.size + 1) // 2
    several = scene.make(side, max(2, sizes.frames // 2), sizes.episodes)
    yield from _folded(several, sizes, repeats)


def _against_plain(given, habit, sizes, repeats) -> turns.Comparison:
    arguments = _params(given, habit), scene.rngs(0, 1, sizes.trials), given.episodes
    ours, spent = turns.compiled(_shared(given), *arguments)
    plain, _ = turns.compiled(_plain(given), *arguments)
    found, expected = ours(*arguments), plain(*arguments)
    difference = check(habit.name, found.trials, expected)
    seconds = turns.run(
        {"plain": _runs(plain, arguments), "ours": _runs(ours, arguments)}, repeats
    )
    facts = _sizes(given, sizes.trials) | {
        "decisions": int(expected.valid.sum()),
        "paid_pairs": _key_pairs(found),
        **_pairs(found, seconds["ours"]),
        "plain_seconds": seconds["plain"].wall,
        "temporary_mb": _temporary(ours),
        "plain_temporary_mb": _temporary(plain),
    }
    return turns.compare(
        habit.name,
        "plain rollout, vmap",
        seconds["ours"],
        seconds["plain"],
        spent,
        difference,
        facts,
    )


def _folded(given, sizes, repeats) -> Iterator[turns.Comparison]:
    count = len(given.episodes.key_scores)
    params, rngs = _params(given, scene.LATE), scene.rngs(0, count, sizes.trials)
    arguments = params, rngs, given.episodes
    singles = [
        (params, rngs[e : e + 1], _take(given.episodes, slice(e, e + 1)))
        for e in range(count)
    ]

    def vmapped(params, rngs, episodes):
        run = _shared(given)
        return jax.vmap(lambda r, e: run(params, r[None], _add_axis(e)))(rngs, episodes)

    ours, spent = turns.compiled(_shared(given), *arguments)
    alone, _ = turns.compiled(_shared(given), *singles[0])
    under_vmap, _ = turns.compiled(vmapped, *arguments)
    found = ours(*arguments)
    others = {
        "vmap over episodes": _take(under_vmap(*arguments).trials, np.s_[:, 0]),
        "one by one": jax.tree.map(
            lambda *x: jnp.concatenate(x),
            *(alone(*single).trials for single in singles),
        ),
    }
    differences = {
        against: check(f"folded, {against}", found.trials, trials)
        for against, trials in others.items()
    }
    programs = {
        "vmap over episodes": _runs(under_vmap, arguments),
        "one by one": lambda: [_runs(alone, single)() for single in singles],
        "ours": _runs(ours, arguments),
    }
    seconds = turns.run(programs, repeats)
    facts = _sizes(given, sizes.trials) | {
        "episodes": count,
        **_pairs(found, seconds["ours"]),
    }
    for against, difference in differences.items():
        yield turns.compare(
            "folded",
            against,
            seconds["ours"],
            seconds[against],
            spent,
            difference,
            facts,
        )


def _population(given, sizes, alike, repeats) -> turns.Comparison:
    count, habit = sizes.policies, scene.LATE
    case = f"population, {'alike' if alike else 'apart'}"
    policies = [
        scene.policy_variables(given, habit, seed, 0 if alike else seed)
        for seed in range(count)
    ]
    rngs = jnp.stack([scene.rngs(seed, 1, sizes.trials) for seed in range(count)])
    caps, budgets = jnp.full(count, scene.CAP), jnp.full(count, habit.budget)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *policies)
    arguments = (
        dynamic.RolloutParams(given.variables, (stacked, caps), budgets),
        rngs,
        given.episodes,
    )
    singles = [
        (
            dynamic.RolloutParams(given.variables, (policy, caps[0]), budgets[0]),
            rngs[index],
            given.episodes,
        )
        for index, policy in enumerate(policies)
    ]
    ours, spent = turns.compiled(_shared(given, dynamic.rollout_population), *arguments)
    alone, _ = turns.compiled(_shared(given), *singles[0])
    found = ours(*arguments)
    one_by_one = [alone(*single) for single in singles]
    difference = max(
        check(case, _take(found.trials, index), single.trials)
        for index, single in enumerate(one_by_one)
    )
    programs = {
        "alone": lambda: [_runs(alone, single)() for single in singles],
        "ours": _runs(ours, arguments),
    }
    seconds = turns.run(programs, repeats)
    pairs_alone = float(np.mean([int(x.distinct.count) for x in one_by_one]))
    more_pairs = int(found.distinct.count) / pairs_alone
    more_time = count * seconds["ours"].wall / seconds["alone"].wall
    facts = _sizes(given, sizes.trials) | {
        "policies": count,
        **_pairs(found, seconds["ours"]),
        "pairs_of_one": pairs_alone,
        # 1 where nothing but the pairs costs.
        "time_over_pairs": more_time / more_pairs,
    }
    return turns.compare(
        case,
        "one by one",
        seconds["ours"],
        seconds["alone"],
        spent,
        difference,
        facts,
    )


def check(case: str, found: dynamic.Trajectory, expected: dynamic.Trajectory) -> float:
    """Return the largest difference of the rewards; decisions must be equal.

    Raises:
      UserError: decisions differ, or rewards by more than `REWARD_TOLERANCE`.
    """
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
        return _add_axis(run(params, rngs[0], _take(episodes, 0)))

    return plain


def _runs(program, arguments) -> Callable[[], object]:
    return lambda: jax.block_until_ready(program(*arguments))


def _sizes(given, trials) -> dict[str, float]:
    return {
        "pixels": given.episodes.targets.shape[-1],
        "frames": given.episodes.key_scores.shape[1],
        "trials": trials,
        "action_cap": scene.CAP,
    }


def _pairs(found, ours: turns.Seconds) -> dict[str, float]:
    count = int(found.distinct.count)
    return {"distinct_pairs": count, "pairs_per_second": count / ours.wall}


def _key_pairs(found) -> int:
    return len(np.unique(np.asarray(found.pair)[np.asarray(found.trials.action)]))


def _temporary(program) -> float:
    analysis = program.memory_analysis()
    return float("nan") if analysis is None else analysis.temp_size_in_bytes / 1e6


def _take(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


def _add_axis(tree):
    return jax.tree.map(lambda x: x[None], tree)
