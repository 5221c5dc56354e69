"""What storing key features in fewer bits costs: U_a0 from rounded features."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build, model_file
from jaxseg.data import sampling, source
from jaxseg.evaluation import feature_store
from jaxseg.ops import stored

_BATCH = 16


class Loss(NamedTuple):
    """How U_a0 of pairs (key, frame) changes where the key's features are rounded."""

    format: str
    changed: float  # share of the pairs whose score is another
    mean: float  # of the differences
    mean_size: float  # of their absolute values
    largest: float  # of these


def losses(
    model: model_file.Model,
    frames: source.FrameSource,
    count: int,
    *,
    max_gap: int = 30,
    seed: int = 0,
    scoring: build.Scoring = build.DEFAULT_SCORING,
) -> tuple[float, list[Loss]]:
    """Score frames propagated from keys at most `max_gap` before them, in every format.

    Args:
      model: settings and variables of N and F.
      count: of pairs, drawn by `sampling.pair_indices`.

    Returns:
      The mean of U_a1 - U_a0, which a key is paid, and a loss for each format that can
      hold the features and is not exact.
    """
    pairs = sampling.pair_indices(frames, seed, 0, count, max_gap)
    formats = [n for n in stored.DTYPES if feature_store.holds(n, model.settings)]
    features_fn, scores_fn = _programs(model.settings, scoring)
    found = []
    for start in range(0, count, _BATCH):
        keys, current = pairs[np.arange(start, start + _BATCH).clip(max=count - 1)].T
        images, labels = frames.frames(current)
        key_images = frames.images(keys)
        features = features_fn(model.variables, key_images)
        # Outside of a program, or XLA would leave the rounding out.
        rounded = [stored.encode(features, name) for name in formats]
        found.append(scores_fn(model.variables, images, key_images, labels, rounded))
    scores = np.concatenate(jax.device_get(found))[:count].astype(np.float64)
    exact = scores[:, 1 + formats.index("float32")]
    rounded = [
        _loss(name, scores[:, 1 + place] - exact)
        for place, name in enumerate(formats)
        if name != "float32"
    ]
    return float((scores[:, 0] - exact).mean()), rounded


def _loss(name: str, difference: np.ndarray) -> Loss:
    size = np.abs(difference)
    return Loss(
        name,
        float((size > 0).mean()),
        float(difference.mean()),
        float(size.mean()),
        float(size.max()),
    )


@build.cached("segmenter", "flow")
def _programs(settings: dict[str, Any], scoring: build.Scoring):
    """Return two programs: features of key frames, and scores [B, 1 + formats].

    The first score is that of a frame as a key, the others of what is propagated to it.
    """
    framework = build.framework(settings)
    score_fn = build.score_fn(settings, scoring)

    def scores(variables, image, key_image, label, features):
        views = [framework.view_fn(variables, x) for x in (image, key_image)]
        motion = framework.motion_fn(variables, *views)
        own = framework.task_fn(variables, framework.feature_fn(variables, image))
        target = own if scoring.pseudo_labels else label
        found = [score_fn(own, target)]
        for rounded in features:
            warped = framework.propagate_fn(motion, stored.decode(rounded))
            found.append(score_fn(framework.task_fn(variables, warped), target))
        return jnp.stack(found)

    return (
        jax.jit(jax.vmap(framework.feature_fn, in_axes=(None, 0))),
        jax.jit(jax.vmap(scores, in_axes=(None, 0, 0, 0, 0))),
    )
