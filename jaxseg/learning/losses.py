"""Losses of the two networks that are frozen while the policy learns."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.types import Array

IGNORE = 255


def cross_entropy(
    logits: Array,
    labels: Array,
    *,
    label_weights: Sequence[float] = (),
    ignore: int = IGNORE,
) -> Array:
    """Return the mean softmax cross-entropy over the pixels that are not ignored.

    Args:
      logits: [..., H, W, C].
      labels: [..., H, W] classes; `ignore` marks pixels that count nothing.
      label_weights: of the C classes, for rare ones (as the flag of that name in
        tensorflow/models, research/deeplab/train.py); empty = all 1. The mean is over
        pixels, not over weights.
    """
    log_probabilities = jax.nn.log_softmax(logits)
    if len(label_weights):
        log_probabilities = log_probabilities * jnp.asarray(label_weights)
    return _masked_mean(log_probabilities, labels, ignore)


def posterior_cross_entropy(
    scores: Array, labels: Array, *, ignore: int = IGNORE, floor: float = 1e-4
) -> Array:
    """Return the cross-entropy of propagated posteriors, renormalised to sum to one.

    The scale field may make scores exceed one or fall below zero, hence the floor.

    Args:
      scores: [..., H, W, C] what N_task makes of propagated posteriors.
      labels: [..., H, W].
    """
    positive = jnp.maximum(scores, floor)
    probabilities = positive / positive.sum(-1, keepdims=True)
    return _masked_mean(jnp.log(probabilities), labels, ignore)


def _masked_mean(log_probabilities, labels, ignore):
    counted = labels != ignore
    classes = jnp.where(counted, labels, 0).astype(jnp.int32)
    chosen = jnp.take_along_axis(log_probabilities, classes[..., None], axis=-1)[..., 0]
    return -jnp.where(counted, chosen, 0.0).sum() / jnp.maximum(counted.sum(), 1)
