"""How long a frame of a stream takes, batch 1, compiled, on this machine."""

import functools
import itertools
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build, dynamic, model_file

_LEAST_SECONDS = 0.5


class StepTimes(NamedTuple):
    """Median seconds of a key and of a non-key frame, by kind of scheduler."""

    seconds: dict[str, tuple[float, float]]  # "rule" | "policy" -> (key, non-key)
    hardware: str


def step_times(
    model: model_file.Model,
    images: np.ndarray,
    *,
    repeats: int = 20,
    precision: str = "float32",
) -> StepTimes:
    """Time `segment_frame` as it runs in a stream, from host image to label map.

    Transfer, N, F, policy, warp and upsampling are in; decoding, cropping to the input
    size, the first key frame and compilation are not. Every result is waited for.

    Args:
      model: segmenter, flow and policy.
      images: [n, H, W, 3], n >= 2, of the segmenter's input size.
      precision: of all networks, see `ops.precision`.
    """
    policy_fn = build.policy_fn(model.settings, precision)
    policy = model.variables["policy"]
    # Thresholds that every probability or none exceeds, intervals of one or no end.
    choices = {
        "rule": (dynamic.fixed_interval(), jnp.int32(1), jnp.int32(1 << 30)),
        "policy": (
            dynamic.thresholded(policy_fn),
            (policy, jnp.float32(-1.0)),
            (policy, jnp.float32(2.0)),
        ),
    }
    framework = build.framework(model.settings, precision)
    seconds = {
        kind: _median_seconds(framework, model, *choice, images, repeats)
        for kind, choice in choices.items()
    }
    return StepTimes(seconds, hardware())


def median_seconds(fn, images: np.ndarray, repeats: int = 20) -> float:
    """Return the median time of `fn(image)`, compiled, its result waited for.

    Args:
      repeats: least number of samples; there are more where they are short, because
        what else a machine does comes in stretches.
    """
    spent = []
    for image in itertools.islice(itertools.cycle(images), 2):
        jax.block_until_ready(fn(image))
    for image in itertools.cycle(images):
        begun = time.perf_counter()
        jax.block_until_ready(fn(image))
        spent.append(time.perf_counter() - begun)
        if len(spent) >= repeats and sum(spent) >= _LEAST_SECONDS:
            return float(np.median(spent))


def non_key_seconds(
    model: model_file.Model, images: np.ndarray, precision: str = "float32"
) -> float:
    """Return the median time of a frame that is warped: F, warp and upsampling."""
    framework = build.framework(model.settings, precision)
    key = jax.jit(key_fn(framework))(model.variables, images[0])
    warped = jax.jit(warped_fn(framework))
    return median_seconds(lambda image: warped(model.variables, *key, image), images)


def key_fn(framework: dynamic.Framework) -> Callable:
    """Return variables, image [H, W, 3] -> the view and the features of a key frame."""

    def keyed(variables, image):
        features = framework.feature_fn(variables, image)
        return framework.view_fn(variables, image), features

    return keyed


def warped_fn(framework: dynamic.Framework) -> Callable:
    """Return variables, key's view and features, image -> label map of a warped frame.

    F, warp and upsampling, without any scheduler.
    """

    def warped(variables, view, features, image):
        _, found = dynamic.propagate(
            framework, variables, framework.view_fn(variables, image), view, features
        )
        return framework.task_fn(variables, found)

    return warped


def hardware() -> str:
    """Name the device that JAX computes on, and the processor of a CPU."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line for line in lines if line.startswith("model name"))
        name = name.partition(":")[2].strip()
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def stream_fns(
    framework: dynamic.Framework, scheduler: dynamic.Scheduler
) -> tuple[Callable, Callable]:
    """Return `dynamic.open_stream` and `dynamic.segment_frame` with their networks."""
    start = functools.partial(dynamic.open_stream, framework, scheduler)
    step = functools.partial(dynamic.segment_frame, framework, scheduler)
    return start, step


def _median_seconds(framework, model, scheduler, always, never, images, repeats):
    """Return the medians of a stream of key frames only, and of none."""
    start, step = map(jax.jit, stream_fns(framework, scheduler))
    rng, medians = jax.random.key(0), []
    for scheduler_params in (always, never):
        params = dynamic.RolloutParams(
            model.variables, scheduler_params, jnp.float32(jnp.inf)
        )
        stream, _ = start(params, images[0])

        def segment(image, params=params):
            nonlocal stream
            stream, result = step(params, rng, stream, image)
            return result.prediction

        medians.append(median_seconds(segment, images[1:], repeats))
    return tuple(medians)
