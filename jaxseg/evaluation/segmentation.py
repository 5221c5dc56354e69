"""Mean IoU of N on frames, and of N propagated by F on pairs of frames."""

import functools
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build, dynamic
from jaxseg.models import multiscale
from jaxseg.ops import iou


class Frames(Protocol):
    """Random access to images [n, H, W, 3] and labels [n, H, W]."""

    def frames(self, indices) -> tuple[np.ndarray, np.ndarray]: ...


class Score(NamedTuple):
    miou: float  # from the summed confusion matrix
    miou_frame_mean: float  # mean of the per-frame mean IoU


class Prediction(NamedTuple):
    """How N alone predicts (static): as its source evaluates it."""

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False


def spread_indices(total: int, count: int) -> np.ndarray:
    """Return `count` evenly spaced indices of `total` (all, where there are fewer)."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))


def score_frames(
    settings: dict[str, Any],
    variables: dict[str, Any],
    frames: Frames,
    indices: np.ndarray,
    *,
    how: Prediction | None = None,
    batch_size: int = 16,
    classes: str = "present",
    precision: str = "float32",
) -> Score:
    """Score N on frames of a source at the given indices.

    Args:
      how: N predicts; None is N_task of N_feat, as key frames are predicted.
      classes: that the mean IoU counts, see `iou.mean_iou`.
      precision: of N, see `ops.precision`.
    """
    confusions = _frame_confusions(settings, how, precision)

    def matrices(index):
        images, labels = frames.frames(index)
        return confusions(variables, images, labels)

    return _summarise(matrices, indices, batch_size, classes)


@build.cached("segmenter")
def predict_fn(
    settings: dict[str, Any],
    how: Prediction | None = None,
    precision: str = "float32",
):
    """Return the compiled prediction: variables, images [B, H, W, 3] -> labels.

    Labels are uint8 [B, H, W]. See `multiscale.probabilities` for `how`.
    """
    net, size = build.segmenter_net(settings, precision), build.input_size(settings)

    @jax.jit
    def predict(variables, images):
        if how is None:
            apply = functools.partial(net.apply, method=net.features)
            return net.labels(apply(variables["segmenter"], images), size)
        posterior = multiscale.probabilities(
            functools.partial(net.apply, variables["segmenter"]),
            images,
            how.scales,
            how.flip,
            net.RULE,
        )
        return posterior.argmax(-1).astype(jnp.uint8)

    return predict


def score_pairs(
    settings: dict[str, Any],
    variables: dict[str, Any],
    frames: Frames,
    keys: np.ndarray,
    current: np.ndarray,
    *,
    batch_size: int = 16,
    classes: str = "present",
    precision: str = "float32",
) -> Score:
    """Score the segmentation of `current` frames propagated from `keys`.

    Args:
      classes: that the mean IoU counts, see `iou.mean_iou`.
      precision: of N and F, see `ops.precision`.
    """
    confusions = _pair_confusions(settings, precision)

    def matrices(index):
        images, labels = frames.frames(current[index])
        key_images, _ = frames.frames(keys[index])
        return confusions(variables, images, key_images, labels)

    return _summarise(matrices, np.arange(len(keys)), batch_size, classes)


@build.cached("segmenter")
def _frame_confusions(settings, how, precision):
    predict = predict_fn(settings, how, precision)
    count = functools.partial(
        iou.confusion, num_classes=settings["segmenter"]["num_classes"]
    )

    @jax.jit
    def confusions(variables, images, labels):
        return jax.vmap(count)(predict(variables, images), labels)

    return confusions


@build.cached("segmenter", "flow")
def _pair_confusions(settings, precision):
    framework = build.framework(settings, precision)

    def one(variables, image, key_image, label):
        features = dynamic.propagate_image(framework, variables, image, key_image)
        prediction = framework.task_fn(variables, features)
        return iou.confusion(prediction, label, settings["segmenter"]["num_classes"])

    return jax.jit(jax.vmap(one, in_axes=(None, 0, 0, 0)))


def _summarise(matrices, indices, batch_size, classes) -> Score:
    """Sum confusion matrices over batches of one size; the last repeats its end."""
    mean_iou = functools.partial(iou.mean_iou, classes=classes)
    total, per_frame = 0.0, []
    for start in range(0, len(indices), batch_size):
        index = indices[np.arange(start, start + batch_size).clip(max=len(indices) - 1)]
        found = jnp.asarray(matrices(index))[: len(indices) - start]
        total = total + np.asarray(found.sum(0), np.float64)
        per_frame.append(np.asarray(jax.vmap(mean_iou)(found)))
    return Score(
        float(mean_iou(jnp.asarray(total, jnp.float32))),
        float(np.concatenate(per_frame).mean()),
    )
