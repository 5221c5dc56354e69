"""Rollouts that share pairs against the plain ones, on the same networks and draws."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import dynamic
from jaxseg.benchmark import cost, peaks, scene, turns
from jaxseg.errors import UserError

REWARD_TOLERANCE = 1e-4
_ROUNDED = 0.05  # where arithmetic depends on the batch, and labels flip


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
    alone = turns.Program(shared_fn(one))
    yield from against_plain(one, sizes, repeats, alone)
    yield from populations(one, sizes, repeats, alone)
    side = (sizes.size + 1) // 2
    frames = max(2, sizes.frames // 2)
    several = scene.make(side, frames, sizes.episodes, variables=one.variables)
    yield from _folded(several, sizes, repeats)


def against_plain(
    given: scene.Scene,
    sizes: Sizes,
    repeats: int,
    ours: turns.Program,
    precision: str = "float32",
) -> Iterator[turns.Comparison]:
    """Time trials of one episode against the plain rollout, by habit.

    Args:
      ours: `shared_fn` of the scene.
      precision: of the scene.
    """
    plain = turns.Program(plain_fn(given))
    tolerance = turns.tolerance(REWARD_TOLERANCE, _ROUNDED, precision)
    # Habits differ in values alone.
    for habit in (scene.LATE, scene.UNDECIDED, scene.EARLY):
        yield _against_plain(given, habit, sizes, repeats, ours, plain, tolerance)


def populations(
    given: scene.Scene,
    sizes: Sizes,
    repeats: int,
    alone: turns.Program,
    precision: str = "float32",
) -> Iterator[turns.Comparison]:
    """Time several policies at once against one by one, alike and apart.

    Args:
      alone: `shared_fn` of the scene.
      precision: of the scene.
    """
    together = turns.Program(shared_fn(given, dynamic.rollout_population))
    tolerance = turns.tolerance(REWARD_TOLERANCE, _ROUNDED, precision)
    for alike in (True, False):
        yield _population(given, sizes, alike, repeats, together, alone, tolerance)


def _against_plain(
    given, habit, sizes, repeats, ours, plain, tolerance
) -> turns.Comparison:
    arguments = (
        rollout_params(given, habit),
        scene.rngs(0, 1, sizes.trials),
        given.episodes,
    )
    found, expected = ours(*arguments), plain(*arguments)
    difference = check(habit.name, found.trials, expected, tolerance)
    seconds = turns.run(
        {"plain": lambda: plain(*arguments), "ours": lambda: ours(*arguments)}, repeats
    )
    facts = _sizes(given, sizes.trials) | {
        "decisions": int(expected.valid.sum()),
        "paid_pairs": len(cost.key_pairs(found)),
        **_costs(given, ours, found, seconds["ours"]),
        "plain_seconds": seconds["plain"].wall,
        "plain_temporary_mb": cost.temporary_mb(plain.compiled),
    }
    return turns.compare(
        habit.name,
        "plain rollout, vmap",
        seconds["ours"],
        seconds["plain"],
        ours.compile_seconds,
        difference,
        facts,
    )


def _folded(given, sizes, repeats) -> Iterator[turns.Comparison]:
    count = len(given.episodes.key_scores)
    params, rngs = rollout_params(given, scene.LATE), scene.rngs(0, count, sizes.trials)
    arguments = params, rngs, given.episodes
    singles = [
        (params, rngs[e : e + 1], _take(given.episodes, slice(e, e + 1)))
        for e in range(count)
    ]

    def vmapped(params, rngs, episodes):
        run = shared_fn(given)
        return jax.vmap(lambda r, e: run(params, r[None], _add_axis(e)))(rngs, episodes)

    ours, alone = turns.Program(shared_fn(given)), turns.Program(shared_fn(given))
    under_vmap = turns.Program(vmapped)
    found = ours(*arguments)
    others = {
        "vmap over episodes": _take(under_vmap(*arguments).trials, np.s_[:, 0]),
        "one by one": jax.tree.map(
            lambda *x: jnp.concatenate(x),
            *(alone(*single).trials for single in singles),
        ),
    }
    tolerance = turns.tolerance(REWARD_TOLERANCE, _ROUNDED)
    differences = {
        against: check(f"folded, {against}", found.trials, trials, tolerance)
        for against, trials in others.items()
    }
    programs = {
        "vmap over episodes": lambda: under_vmap(*arguments),
        "one by one": lambda: [alone(*single) for single in singles],
        "ours": lambda: ours(*arguments),
    }
    seconds = turns.run(programs, repeats)
    facts = _sizes(given, sizes.trials) | {
        "episodes": count,
        **_costs(given, ours, found, seconds["ours"]),
    }
    for against, difference in differences.items():
        yield turns.compare(
            "folded",
            against,
            seconds["ours"],
            seconds[against],
            ours.compile_seconds,
            difference,
            facts,
        )


def _population(
    given, sizes, alike, repeats, ours, alone, tolerance
) -> turns.Comparison:
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
    found = ours(*arguments)
    one_by_one = [alone(*single) for single in singles]
    difference = max(
        check(case, _take(found.trials, index), single.trials, tolerance)
        for index, single in enumerate(one_by_one)
    )
    programs = {
        "alone": lambda: [alone(*single) for single in singles],
        "ours": lambda: ours(*arguments),
    }
    seconds = turns.run(programs, repeats)
    pairs_alone = float(np.mean([int(x.distinct.count) for x in one_by_one]))
    more_pairs = int(found.distinct.count) / pairs_alone
    more_time = count * seconds["ours"].wall / seconds["alone"].wall
    facts = _sizes(given, sizes.trials) | {
        "policies": count,
        **_costs(given, ours, found, seconds["ours"]),
        "pairs_of_one": pairs_alone,
        # 1 where nothing but the pairs costs.
        "time_over_pairs": more_time / more_pairs,
    }
    return turns.compare(
        case,
        "one by one",
        seconds["ours"],
        seconds["alone"],
        ours.compile_seconds,
        difference,
        facts,
    )


def check(
    case: str,
    found: dynamic.Trajectory,
    expected: dynamic.Trajectory,
    tolerance: float = REWARD_TOLERANCE,
) -> float:
    """Return the largest difference of the rewards; decisions must be equal.

    Raises:
      UserError: decisions differ, or rewards by more than `tolerance`.
    """
    valid = np.asarray(expected.valid)
    same = np.array_equal(found.valid, valid) and np.array_equal(
        np.asarray(found.action)[valid], np.asarray(expected.action)[valid]
    )
    difference = float(np.abs(np.subtract(found.reward, expected.reward)).max())
    if not same or not difference <= tolerance:
        raise UserError(
            f"the rollouts of the case {case} differ, "
            + (f"by {difference:.2g} in a reward" if same else "in their decisions")
            + f"; expected equal decisions and rewards to {tolerance:.0e}; this "
            "is a fault of jaxseg"
        )
    return difference


def rollout_params(given: scene.Scene, habit: scene.Habit) -> dynamic.RolloutParams:
    """Return what a rollout of a policy with a habit is given."""
    policy = scene.policy_variables(given, habit)
    return dynamic.RolloutParams(
        given.variables, (policy, jnp.float32(scene.CAP)), jnp.float32(habit.budget)
    )


def shared_fn(
    given: scene.Scene, rollout: Callable = dynamic.rollout_episodes, **options
) -> Callable:
    """Return params, rngs, episodes -> trials of a scene that share their pairs."""
    return functools.partial(
        rollout,
        given.pair_fn,
        dynamic.sampled(given.policy),
        rules=given.rules,
        **options,
    )


def plain_fn(given: scene.Scene) -> Callable:
    """Return params, rngs [1, K], episodes [1, ...] -> trials, each by itself."""
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


def _sizes(given, trials) -> dict[str, float]:
    return {
        "pixels": given.episodes.targets.shape[-1],
        "frames": given.episodes.key_scores.shape[1],
        "trials": trials,
        "action_cap": scene.CAP,
    }


def _costs(given, program, found, ours: turns.Seconds) -> dict[str, float]:
    """Return pairs, work and memory of a shared rollout."""
    count = int(found.distinct.count)
    flop = cost.rollout_flop(given, found)
    return {
        "flop": flop,
        "distinct_pairs": count,
        "pairs_per_second": count / ours.wall,
        "share_of_peak": peaks.of_device().share(flop, ours.wall),
        **cost.memory(program.compiled),
    }


def _take(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


def _add_axis(tree):
    return jax.tree.map(lambda x: x[None], tree)
