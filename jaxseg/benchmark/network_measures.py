"""Networks alone and in streams, as `jaxseg.benchmark.targets` measures them."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from jaxseg import build
from jaxseg.benchmark import cost, measures, scene, stream, turns
from jaxseg.models import multiscale
from jaxseg.ops import depthwise as depthwise_ops
from jaxseg.ops import precision as precisions

PAPER_FRAMES = 98_947  # of the paper's set B
_SCALES = (1.25, 1.75)


def encoder(work: measures.Work) -> Iterator[measures.Figure]:
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
            yield measures.Figure(
                f"encoder, batch {batch}{name}",
                1e6 * spent / batch,
                "us a pair",
                spent,
                batch * one,
                program.compile_seconds,
                cost.memory(program.compiled),
            )


def network(work: measures.Work) -> Iterator[measures.Figure]:
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
        yield measures.Figure(
            f"N, {name}",
            rate,
            "frames a second",
            spent,
            cost.flop(fn, variables, images),
            program.compile_seconds,
            cost.memory(program.compiled),
        )
    yield measures.Figure(
        f"N, several scales, {PAPER_FRAMES:,} frames, extrapolated",
        PAPER_FRAMES / rate / 60,
        "minutes",
        spent,
        0.0,
        0.0,
        {"from_frames": sizes.images},
    )


def streams(work: measures.Work) -> Iterator[measures.Figure]:
    """A stream of batch 1 with a key in 30 frames."""
    sizes = work.sizes
    found = stream.compare(work.model, measures.few(sizes), (30,), sizes.precision)
    for line in found:
        facts = {x: line.facts[x] for x in ("every_frame_fps", "bound", "of_bound")}
        flop, compiled = line.facts["flop"], line.compile_seconds
        seconds = 30 * line.seconds
        yield measures.Figure(
            line.case, 1 / line.seconds, "FPS", seconds, flop, compiled, facts
        )
        name = f"{line.case}, against N"
        yield measures.Figure(name, line.ratio, "times", seconds, 0.0, compiled, {})


def depthwise(work: measures.Work) -> Iterator[measures.Figure]:
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
        yield measures.Figure(
            f"depthwise, dilation {rate}",
            times["lax"] / times["shift"],
            "times (lax over shift-and-add)",
            seconds["shift"].wall,
            0.0,
            programs["shift"].compile_seconds,
            {"lax_us": times["lax"], "shift_us": times["shift"]},
        )
