"""How long a frame of a stream takes, batch 1, compiled, on this machine."""

import functools
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build, dynamic


class StepTimes(NamedTuple):
    """Median seconds of a key and of a non-key frame, by kind of scheduler."""

    seconds: dict[str, tuple[float, float]]  # "rule" | "policy" -> (key, non-key)
    hardware: str


def step_times(
    model: build.Model, images: np.ndarray, *, repeats: int = 20
) -> StepTimes:
    """Time `segment_frame` as it runs in a stream: N and F with all resizing.

    Decoding, the first key frame and compilation are left out; the result of every
    frame is waited for.

    Args:
      model: segmenter, flow and policy.
      images: [n, H, W, 3], n >= 2, of the segmenter's input size.
    """
    policy_fn = build.policy_fn(model.settings)
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
    seconds = {
        kind: tuple(
            _median_seconds(model, scheduler, params, images, repeats)
            for params in (always, never)
        )
        for kind, (scheduler, always, never) in choices.items()
    }
    return StepTimes(seconds, jax.devices()[0].device_kind)


def _median_seconds(model, scheduler, scheduler_params, images, repeats) -> float:
    framework = build.framework(model.settings)
    params = dynamic.RolloutParams(
        model.variables, scheduler_params, jnp.float32(jnp.inf)
    )
    step = jax.jit(functools.partial(dynamic.segment_frame, framework, scheduler))
    stream, _ = dynamic.open_stream(framework, scheduler, params, images[0])
    rng, spent = jax.random.key(0), []
    for index in range(repeats + 2):
        image = jnp.asarray(images[1 + index % (len(images) - 1)])
        start = time.perf_counter()
        stream, result = step(params, rng, stream, image)
        jax.block_until_ready(result.prediction)
        spent.append(time.perf_counter() - start)
    return float(np.median(spent[2:]))
