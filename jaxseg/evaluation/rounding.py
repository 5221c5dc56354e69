"""What storing key features in fewer bits costs: U_a0 from rounded features."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg import build, model_file
from jaxseg.data import sampling, source
from jaxseg.evaluation import feature_store
from jaxseg.ops import stored

_BATCH = 16


class Loss(NamedTuple):
    """How U_a0 of pairs (key, frame) changes where features are rounded."""

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
    precision: str = "float32",
) -> tuple[float, list[Loss]]:
    """Score frames propagated from keys at most `max_gap` before them, in every format.

    Pseudo labels come from features in the same format, as where they are stored.

    Args:
      model: settings and variables of N and F.
      count: of pairs, drawn by `sampling.pair_indices`.
      precision: that both are computed in, see `build`.

    Returns:
      The mean of U_a1 - U_a0, which a key is paid, and a loss for each format that can
      hold the features and is not exact.
    """
    pairs = sampling.pair_indices(frames, seed, 0, count, max_gap)
    formats = [n for n in stored.DTYPES if feature_store.holds(n, model.settings)]
    features_fn, scores_fn = _programs(model.settings, scoring, precision)

    def features(images):
        exact = features_fn(model.variables, images)
        # Outside of a program, or XLA would leave the rounding out.
        return {name: stored.encode(exact, name) for name in formats}

    found = []
    for start in range(0, count, _BATCH):
        keys, current = pairs[np.arange(start, start + _BATCH).clip(max=count - 1)].T
        images, labels = frames.frames(current)
        key_images = frames.images(keys)
        both = features(key_images), features(images)
        found.append(scores_fn(model.variables, images, key_images, labels, *both))
    own, scores = jax.tree.map(
        lambda *parts: np.concatenate(parts)[:count].astype(np.float64),
        *jax.device_get(found),
    )
    exact = scores.pop("float32")
    rounded = [_loss(name, scores[name] - exact) for name in formats if name in scores]
    return float((own - exact).mean()), rounded


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
def _programs(settings: dict[str, Any], scoring: build.Scoring, precision: str):
    """Return two programs: features of frames, and scores of pairs of frames.

    The second takes features of the key and of the frame in each format, and returns
    the score [B] of the frame as a key and, by format, of what is propagated to it.
    """
    framework = build.framework(settings, precision)
    score_fn = build.score_fn(settings, scoring)

    def scores(variables, image, key_image, label, key_features, features):
        views = [framework.view_fn(variables, x) for x in (image, key_image)]
        motion = framework.motion_fn(variables, *views)

        def predict(features):
            return framework.task_fn(variables, features)

        def target(name):
            if scoring.pseudo_labels:
                return predict(stored.decode(features[name]))
            return label

        def score(name):
            warped = framework.propagate_fn(motion, stored.decode(key_features[name]))
            return score_fn(predict(warped), target(name))

        own = score_fn(predict(features["float32"]), target("float32"))
        return own, {name: score(name) for name in key_features}

    return (
        jax.jit(jax.vmap(framework.feature_fn, in_axes=(None, 0))),
        jax.jit(jax.vmap(scores, in_axes=(None, 0, 0, 0, 0, 0))),
    )
