"""Rollouts and updates, as `jaxseg.benchmark.targets` measures them."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import dynamic
from jaxseg.benchmark import cost, measures, rollout, scene, training, turns
from jaxseg.learning import optimizers, shared, train_state, units
from jaxseg.ops import precision

PAPER_UPDATES = 300  # of 8 episodes
_KEPT_BYTES = 2 * 2**30  # of deviations that an update keeps


def rollouts(work: measures.Work) -> Iterator[measures.Figure]:
    """A mini-batch of late episodes, all in lockstep; and what rewards take of it."""
    given, sizes = work.several, work.sizes
    run = rollout.shared_fn(given)
    whole = turns.Program(run)
    # Rewards come after the loop, and are left out where nobody asks for them.
    decisions = turns.Program(lambda *x: run(*x).trials.action)
    rngs = scene.rngs(0, sizes.episodes, sizes.trials)
    for habit in (scene.LATE, scene.UNDECIDED):
        arguments = rollout.rollout_params(given, habit), rngs, given.episodes
        found = whole(*arguments)
        decisions(*arguments)
        seconds = turns.run(
            {
                "whole": functools.partial(whole, *arguments),
                "decisions": functools.partial(decisions, *arguments),
            },
            measures.few(sizes),
        )
        spent, without = seconds["whole"].wall, seconds["decisions"].wall
        count = int(found.distinct.count)
        yield measures.Figure(
            f"rollout, {habit.name}",
            spent,
            f"s for {sizes.episodes} episodes",
            spent,
            cost.rollout_flop(given, found),
            whole.compile_seconds,
            {
                "distinct_pairs": count,
                "pairs_per_second": count / spent,
                "paid_pairs": len(cost.key_pairs(found)),
                "deferred_rewards_share": 1 - without / spent,
                **cost.memory(whole.compiled),
            },
        )


def update(work: measures.Work) -> Iterator[measures.Figure]:
    """Rollouts, gradient and optimizer of a mini-batch; and all of a training.

    Episodes are ready, as if N had run before. Every update starts from the same late
    policy with other draws, as a policy with drawn weights would not stay late.
    """
    given, sizes = work.several, work.sizes
    net = scene.policy_variables(given, scene.LATE)
    row = precision.dtype(sizes.precision).itemsize * int(np.prod(given.deviation))
    gradient = shared.gradient_fn(
        training.recipe_of(given),
        given.pair_fn,
        given.policy,
        learner=scene.policy_of(given.settings),
        how=dynamic.Sharing(kept=_KEPT_BYTES // row),
        axis_name=None,
    )
    optimizer = optimizers.optimizer(optimizers.OptimizerOptions())
    batch = units.Units(
        given.episodes,
        jnp.arange(sizes.episodes),
        jnp.tile(jnp.arange(sizes.trials), (sizes.episodes, 1)),
    )

    def step(state, frozen, batch, rng):
        grads, metrics = gradient(state.params, frozen, batch, rng)
        return train_state.apply_gradients(state, grads, optimizer), metrics["pairs"]

    program, state = turns.Program(step), train_state.create(net, optimizer)
    draws = iter(range(1_000_000))
    run = lambda: program(state, given.variables, batch, jax.random.key(next(draws)))
    pairs = float(run()[1])
    spent = work.seconds(run, sizes.updates)
    facts = {"updates": sizes.updates, "distinct_pairs": pairs}
    facts |= {"pairs_per_second": pairs / spent, **cost.memory(program.compiled)}
    # Rewards and the head come on top, and are little.
    each = cost.encoder_flop(given) + cost.trunk_flop(given)
    each += cost.trunk_flop(given, gradient=True)
    yield measures.Figure(
        "update",
        spent,
        f"s for {sizes.episodes} episodes",
        spent,
        pairs * each,
        program.compile_seconds,
        facts,
    )
    yield measures.Figure(
        f"{PAPER_UPDATES} updates, extrapolated",
        PAPER_UPDATES * spent / 60,
        "minutes, N done before",
        spent,
        0.0,
        0.0,
        {"from_updates": sizes.updates},
    )


def steps(work: measures.Work) -> Iterator[measures.Figure]:
    """What the loop and its switch cost a frame, where a pair costs nothing."""
    frames = work.sizes.frames
    nothing = dynamic.PairTable(
        jnp.zeros((1, frames * (frames - 1) // 2, 1)),
        jnp.zeros((1, frames * (frames - 1) // 2)),
        jnp.zeros((1, frames)),
    )
    run = functools.partial(
        dynamic.rollout_episodes, dynamic.tabled_pair, dynamic.fixed_interval()
    )
    program = turns.Program(run)
    params = dynamic.RolloutParams(None, jnp.int32(1 << 30), jnp.float32(jnp.inf))
    # Two trials, so that there are two sizes of batches to switch between.
    arguments = params, scene.rngs(0, 1, 2), nothing
    program(*arguments)
    spent = work.seconds(lambda: program(*arguments))
    each = 1e6 * spent / (frames - 1)
    yield measures.Figure(
        "step of the loop, one pair",
        each,
        "us a frame",
        spent,
        0.0,
        program.compile_seconds,
        {"frames": frames},
    )


def population(work: measures.Work) -> Iterator[measures.Figure]:
    """Several policies at once on one episode, against one by one."""
    sizes = rollout.Sizes(trials=work.sizes.trials, policies=work.sizes.policies)
    found = rollout.populations(
        work.one, sizes, measures.few(work.sizes), work.alone, work.sizes.precision
    )
    for line in found:
        yield _ratio(f"{line.case}, against one by one", line)


def plain(work: measures.Work) -> Iterator[measures.Figure]:
    """One episode against the plain rollout under vmap, of every habit."""
    sizes = rollout.Sizes(trials=work.sizes.trials)
    found = rollout.against_plain(
        work.one, sizes, measures.few(work.sizes), work.alone, work.sizes.precision
    )
    for line in found:
        yield _ratio(f"{line.case}, against the plain rollout", line)


def _ratio(name, line) -> measures.Figure:
    names = ("distinct_pairs", "pairs_per_second", "time_over_pairs")
    facts = {x: line.facts[x] for x in names if x in line.facts}
    facts["seconds"] = line.seconds
    return measures.Figure(
        name,
        line.ratio,
        "times",
        line.seconds,
        line.facts["flop"],
        line.compile_seconds,
        facts,
    )
