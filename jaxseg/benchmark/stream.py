"""Dynamic segmentation of a stream against N on every frame, batch 1."""

import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build, dynamic, model_file
from jaxseg.benchmark import cost, peaks, scene, turns, workload
from jaxseg.errors import UserError
from jaxseg.evaluation import speed
from jaxseg.ops import precision as precisions
from jaxseg.pretrained import catalogue

INTERVALS = (10, 30)  # a, frames from key to key
NETWORK = "deeplab-resnet50-beta"
# Of the pixels of a key frame; N is untrained, so undecided that rounding tells.
_TOLERANCE, _ROUNDED = 1e-3, 0.1


def make_model(network: str, size: int) -> model_file.Model:
    """Return N as in the catalogue, FlowNet2-s and the paper's policy, fresh.

    Raises:
      UserError: the catalogue has no such segmenter, or it cannot have that size.
    """
    settings = settings_of(network, size)
    variables = {name: build.init(settings, name, 0) for name in settings}
    return model_file.Model(settings, variables)


def settings_of(network: str, size: int) -> dict[str, dict[str, Any]]:
    """Return the settings of `make_model`.

    Raises:
      UserError: the catalogue has no such segmenter.
    """
    known = catalogue.MODELS.get(network)
    settings = {} if known is None else catalogue.settings_of(known, None)
    if "segmenter" not in settings:
        raise UserError(
            f"there is no segmenter {network!r}; expected a name of `jaxseg convert "
            "--list`; change --network"
        )
    segmenter = copy.deepcopy(settings["segmenter"])
    segmenter |= {"num_classes": scene.CLASSES, "input_size": size}
    return {
        "segmenter": segmenter,
        "flow": {**scene.FLOW, "num_classes": scene.CLASSES, "input_size": size},
        "policy": workload.PAPER_POLICY,
    }


def compare(
    model: model_file.Model,
    repeats: int,
    intervals: tuple[int, ...] = INTERVALS,
    precision: str = "float32",
) -> Iterator[turns.Comparison]:
    """Time streams with a key every `a` frames against N on every frame.

    By rule, where nothing but the interval decides, and with the policy, which reads
    every frame's deviation but leaves the decision to the interval, so that both take
    the same keys. Every frame goes from host image to label map, and is waited for.

    Raises:
      UserError: a stream's first frame is not what N says of it.
    """
    images = scene.images(build.input_size(model.settings)[0], max(intervals))
    framework = build.framework(model.settings, precision)
    alone = _Alone(framework, model, images)
    streams = {
        "rule": _Stream(framework, model, images, dynamic.fixed_interval(), False),
        "policy": _Stream(framework, model, images, _watching(model, precision), True),
    }
    tolerance = turns.tolerance(_TOLERANCE, _ROUNDED, precision)
    difference = max(
        _check(kind, stream.open(images[0]), alone.every(images[0]), tolerance)
        for kind, stream in streams.items()
    )
    programs = {
        (kind, interval): functools.partial(stream.advance, interval)
        for kind, stream in streams.items()
        for interval in intervals
    }
    for program in (alone.warped, *programs.values()):
        program()
    seconds = turns.run(
        {"every": alone.every, "warped": alone.warped, **programs}, repeats
    )
    peak = peaks.of_device(precisions.dtype(precision))
    for kind, interval in programs:
        stretch, stream = seconds[kind, interval], streams[kind]
        ours = turns.Seconds(stretch.wall / interval, stretch.processor / interval)
        facts = _facts(interval, ours, seconds["every"], seconds["warped"])
        flop = stream.flop(interval)
        facts |= {"pixels": images.shape[1], "flop": flop}
        facts["share_of_peak"] = peak.share(flop, stretch.wall)
        yield turns.compare(
            f"stream, {kind}, a = {interval}",
            "N on every frame",
            ours,
            seconds["every"],
            stream.step.compile_seconds,
            difference,
            facts | cost.memory(stream.step.compiled),
        )


def _facts(interval, ours, every, warped) -> dict[str, float]:
    # Where nothing costs but N on key frames and F, warp and task on all.
    bound = every.wall / (warped.wall + every.wall / interval)
    return {
        "fps": 1 / ours.wall,
        "every_frame_fps": 1 / every.wall,
        "warped_frame_ms": 1e3 * warped.wall,
        "bound": bound,
        "of_bound": every.wall / ours.wall / bound,
    }


class _Alone:
    """N on a frame, and F on a frame, without a stream."""

    def __init__(self, framework, model, images):
        self._images, self._variables = itertools.cycle(images), model.variables
        self._every = turns.Program(every_fn(framework))
        self._warped = turns.Program(speed.warped_fn(framework))
        keyed = jax.jit(speed.key_fn(framework))
        self._key = keyed(model.variables, images[0])

    def every(self, image=None):
        image = next(self._images) if image is None else image
        return self._every(self._variables, image)

    def warped(self):
        return self._warped(self._variables, *self._key, next(self._images))


def every_fn(framework: dynamic.Framework) -> Callable:
    """Return variables, image [H, W, 3] -> label map by N."""

    def every(variables, image):
        return framework.task_fn(variables, framework.feature_fn(variables, image))

    return every


class _Stream:
    """A stream without end that takes a key at an interval."""

    def __init__(self, framework, model, images, scheduler, with_policy):
        self._framework, self._model = framework, model
        self._with_policy = with_policy
        self._images, self._rng = itertools.cycle(images), jax.random.key(0)
        start, step = speed.stream_fns(framework, scheduler)
        self._start, self.step = turns.Program(start), turns.Program(step)

    def open(self, image):
        """Segment the first frame; return its labels."""
        self._state, labels = self._start(self._params(1), image)
        return labels

    def advance(self, interval):
        """Segment `interval` frames, of which one is key, wherever the last one was."""
        params, keys = self._params(interval), 0
        for _ in range(interval):
            image = next(self._images)
            self._state, found = self.step(params, self._rng, self._state, image)
            keys += bool(found.decision.action)
        return keys

    def flop(self, interval):
        """Return the least FLOP of a stretch: N on its key, F on the other frames."""
        model = self._model
        image = jax.ShapeDtypeStruct((*build.input_size(model.settings), 3), jnp.uint8)
        n = cost.flop(every_fn(self._framework), model.variables, image)
        key = jax.eval_shape(speed.key_fn(self._framework), model.variables, image)
        f = cost.flop(speed.warped_fn(self._framework), model.variables, *key, image)
        return n + (interval - 1) * f

    def _params(self, interval):
        params = jnp.int32(interval)
        if self._with_policy:
            params = self._model.variables["policy"], params
        return dynamic.RolloutParams(
            self._model.variables, params, jnp.float32(jnp.inf)
        )


def _watching(model, precision) -> dynamic.Scheduler:
    """Return a scheduler that asks the policy, and takes a key at an interval."""
    policy = build.policy_fn(model.settings, precision)

    def decide(params, rng, obs):
        variables, interval = params
        probability = jax.nn.softmax(policy.head(variables, obs))[1]
        return dynamic.Decision(obs.key_distance >= interval, probability)

    look = lambda params, deviation: policy.trunk(params[0], deviation)
    return dynamic.memoryless(decide, look)


def _check(kind, found, expected, tolerance) -> float:
    difference = float(np.mean(np.asarray(found) != np.asarray(expected)))
    if not difference <= tolerance:
        raise UserError(
            f"the first frame of a stream ({kind}) differs from what N says of it in "
            f"{difference:.2%} of its pixels; expected at most {tolerance:.1%}; this "
            "is a fault of jaxseg"
        )
    return difference
