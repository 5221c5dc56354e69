"""What `jaxseg.benchmark.targets` measures: networks, rollouts, updates, streams."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build, dynamic
from jaxseg.benchmark import cost, rollout, scene, stream, training, turns
from jaxseg.learning import optimizers, shared, train_state, units
from jaxseg.models import multiscale
from jaxseg.ops import depthwise as depthwise_ops
from jaxseg.ops import precision as precisions

PAPER_FRAMES = 98_947  # of the paper's set B
PAPER_UPDATES = 300  # of 8 episodes
_SCALES = (1.25, 1.75)
_KEPT_BYTES = 2 * 2**30  # of deviations that an update keeps


class Sizes(NamedTuple):
    """How large everything is; the paper's by default."""

    size: int = 513
    frames: int = 270
    trials: int = 32
    episodes: int = 8
    policies: int = 8
    updates: int = 10
    batch: int = 256  # the largest, of pairs
    images: int = 8  # that go through N together
    repeats: int = 20
    precision: str = "auto"
    network: str = stream.NETWORK


class Figure(NamedTuple):
    """One measured number."""

    name: str
    value: float
    unit: str
    seconds: float  # a call took
    flop: float  # of a call; 0 where FLOP say nothing
    compile_seconds: float
    facts: dict[str, float]


class Work:
    """What several parts measure on, made when first asked for."""

    def __init__(self, sizes: Sizes):
        self.sizes = sizes

    @functools.cached_property
    def one(self) -> scene.Scene:
        """Return a scene of one episode."""
        return scene.make(
            self.sizes.size, self.sizes.frames, 1, precision=self.sizes.precision
        )

    @functools.cached_property
    def several(self) -> scene.Scene:
        """Return a scene of a mini-batch, all of whose episodes have the same frames.

        Trials never share pairs across episodes, so that this costs as much as others.
        """
        again = lambda x: jnp.repeat(x, self.sizes.episodes, axis=0)
        return self.one._replace(episodes=jax.tree.map(again, self.one.episodes))

    @functools.cached_property
    def alone(self) -> turns.Program:
        """Return the rollout of one episode that shares pairs."""
        return turns.Program(rollout.shared_fn(self.one))

    @functools.cached_property
    def model(self):
        """Return N, F and the policy for streams."""
        return stream.make_model(self.sizes.network, self.sizes.size)

    def seconds(self, program: Callable[[], object], repeats: int = 0) -> float:
        """Return the median wall time of a program that has run once."""
        return turns.run({"": program}, repeats or self.sizes.repeats)[""].wall


def encoder(work: Work) -> Iterator[Figure]:
    """F up to its deviation: microseconds a pair by batch, with conv1 split or not.

    Split, the first convolution of every frame was done before, as in rollouts on a
    CPU.
    """
    sizes = work.sizes
    net = build.flow_net(work.one.settings, sizes.precision)
    variables = work.one.variables["flow"]
    images = jnp.asarray(scene.images(sizes.size, 2))
    embed = turns.Program(lambda v, x: net.apply(v, x, method=net.embed))
    maps = embed(variables, images)

    def whole(variables, current, key):
        return net.apply(variables, current, key, method=net.deviation)

    def split(variables, current, key):
        return net.apply(variables, current, key, method=net.compare).deviation

    batches = [x for x in (1, 4, 16, 64, 128, 256) if x <= sizes.batch]
    for name, fn, frames in (("", whole, images), (", conv1 split", split, maps)):
        one = cost.flop(fn, variables, frames[:1], frames[1:])
        for batch in batches:
            pairs = [jnp.repeat(frames[n : n + 1], batch, axis=0) for n in (0, 1)]
            program = turns.Program(fn)
            program(variables, *pairs)
            spent = work.seconds(lambda: program(variables, *pairs))  # noqa: B023
            yield Figure(
                f"encoder, batch {batch}{name}",
                1e6 * spent / batch,
                "us a pair",
                spent,
                batch * one,
                program.compile_seconds,
                cost.memory(program.compiled),
            )


def rollouts(work: Work) -> Iterator[Figure]:
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
            _few(sizes),
        )
        spent, without = seconds["whole"].wall, seconds["decisions"].wall
        count = int(found.distinct.count)
        yield Figure(
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


def update(work: Work) -> Iterator[Figure]:
    """Rollouts, gradient and optimizer of a mini-batch; and all of a training.

    Episodes are ready, as if N had run before. Every update starts from the same late
    policy with other draws, as a policy with drawn weights would not stay late.
    """
    given, sizes = work.several, work.sizes
    net = scene.policy_variables(given, scene.LATE)
    row = 4 * int(np.prod(given.deviation))
    gradient = shared.gradient_fn(
        training.recipe_of(given),
        given.pair_fn,
        given.policy,
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
    each = cost.look_flop(given) + cost.trunk_flop(given, gradient=True)
    yield Figure(
        "update",
        spent,
        f"s for {sizes.episodes} episodes",
        spent,
        pairs * each,
        program.compile_seconds,
        facts,
    )
    yield Figure(
        f"{PAPER_UPDATES} updates, extrapolated",
        PAPER_UPDATES * spent / 60,
        "minutes, N done before",
        spent,
        0.0,
        0.0,
        {"from_updates": sizes.updates},
    )


def network(work: Work) -> Iterator[Figure]:
    """N on frames in batches, at one scale and at two, in frames a second."""
    sizes, model = work.sizes, work.model
    net = build.segmenter_net(model.settings, sizes.precision)
    images = jnp.asarray(scene.images(sizes.size, sizes.images))
    logits = lambda variables, x: net.apply(variables, x)

    def several(variables, images):
        fn = functools.partial(logits, variables)
        return multiscale.probabilities(fn, images, _SCALES, rule=net.RULE)

    variables = model.variables["segmenter"]
    for name, fn in (("one scale", logits), ("several scales", several)):
        program = turns.Program(fn)
        program(variables, images)
        spent = work.seconds(lambda: program(variables, images))  # noqa: B023
        rate = sizes.images / spent
        yield Figure(
            f"N, {name}",
            rate,
            "frames a second",
            spent,
            cost.flop(fn, variables, images),
            program.compile_seconds,
            cost.memory(program.compiled),
        )
    yield Figure(
        f"N, several scales, {PAPER_FRAMES:,} frames, extrapolated",
        PAPER_FRAMES / rate / 60,
        "minutes",
        spent,
        0.0,
        0.0,
        {"from_frames": sizes.images},
    )


def streams(work: Work) -> Iterator[Figure]:
    """A stream of batch 1 with a key in 30 frames."""
    sizes = work.sizes
    found = stream.compare(work.model, _few(sizes), (30,), sizes.precision)
    for line in found:
        facts = {x: line.facts[x] for x in ("every_frame_fps", "bound", "of_bound")}
        flop, compiled = line.facts["flop"], line.compile_seconds
        seconds = 30 * line.seconds
        yield Figure(line.case, 1 / line.seconds, "FPS", seconds, flop, compiled, facts)
        name = f"{line.case}, against N"
        yield Figure(name, line.ratio, "times", seconds, 0.0, compiled, {})


def steps(work: Work) -> Iterator[Figure]:
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
    yield Figure(
        "step of the loop, one pair",
        each,
        "us a frame",
        spent,
        0.0,
        program.compile_seconds,
        {"frames": frames},
    )


def depthwise(work: Work) -> Iterator[Figure]:
    """Depthwise convolutions of ASPP: XLA's own against the sum of shifted products."""
    side = (work.sizes.size - 1) // 16 + 1
    dtype = precisions.dtype(work.sizes.precision)
    x = jax.random.normal(jax.random.key(0), (1, side, side, 2048), dtype)
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 1, 2048), dtype)
    for rate in (6, 12, 18):
        programs = {
            impl: turns.Program(
                functools.partial(depthwise_ops.depthwise_conv, rate=rate, impl=impl)
            )
            for impl in ("lax", "shift")
        }
        for program in programs.values():
            program(x, kernel)
        seconds = turns.run(
            {n: functools.partial(p, x, kernel) for n, p in programs.items()},
            work.sizes.repeats,
        )
        times = {n: 1e6 * s.wall for n, s in seconds.items()}
        yield Figure(
            f"depthwise, dilation {rate}",
            times["lax"] / times["shift"],
            "times (lax over shift-and-add)",
            seconds["shift"].wall,
            0.0,
            programs["shift"].compile_seconds,
            {"lax_us": times["lax"], "shift_us": times["shift"]},
        )


def population(work: Work) -> Iterator[Figure]:
    """Several policies at once on one episode, against one by one."""
    sizes = rollout.Sizes(trials=work.sizes.trials, policies=work.sizes.policies)
    found = rollout.populations(
        work.one, sizes, _few(work.sizes), work.alone, work.sizes.precision
    )
    for line in found:
        yield _ratio(f"{line.case}, against one by one", line)


def plain(work: Work) -> Iterator[Figure]:
    """One episode against the plain rollout under vmap, of every habit."""
    sizes = rollout.Sizes(trials=work.sizes.trials)
    found = rollout.against_plain(
        work.one, sizes, _few(work.sizes), work.alone, work.sizes.precision
    )
    for line in found:
        yield _ratio(f"{line.case}, against the plain rollout", line)


def _ratio(name, line) -> Figure:
    names = ("distinct_pairs", "pairs_per_second", "time_over_pairs")
    facts = {x: line.facts[x] for x in names if x in line.facts}
    facts["seconds"] = line.seconds
    return Figure(
        name,
        line.ratio,
        "times",
        line.seconds,
        line.facts["flop"],
        line.compile_seconds,
        facts,
    )


def _few(sizes) -> int:
    """Return how often what takes long is repeated."""
    return max(1, sizes.repeats // 4)
