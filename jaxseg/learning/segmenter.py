"""Train the image segmentation network N."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxseg import build
from jaxseg.data import augment, sampling, source
from jaxseg.errors import UserError
from jaxseg.evaluation import segmentation
from jaxseg.learning import fitting, losses, train_state
from jaxseg.learning.loop import Trainer
from jaxseg.runtime import parallel
from jaxseg.types import Variables

# What a batch of the validation may hold: 16 images of 513 x 513.
_EVAL_PIXELS = 16 * 513 * 513


class Batch(NamedTuple):
    images: np.ndarray  # [B, H, W, 3] uint8
    labels: np.ndarray  # [B, H, W] uint8
    index: np.ndarray  # [B] int32, place in the whole batch


def trainer(
    settings: dict[str, Any],
    frames: source.FrameSource,
    held_out: source.FrameSource,
    augmentation: augment.Augmentation,
    tx: optax.GradientTransformation,
    *,
    batch_size: int,
    eval_frames: int,
    label_weights: Sequence[float] = (),
    start: Callable[[], Variables],
    freeze_batch_norm: bool = False,
    seed: int,
    num_devices: int | None = None,
    how: str = "pmap",
    precision: str = "float32",
) -> Trainer:
    """Return the trainer of N: cross-entropy at label size, ignored pixels left out.

    Gradients and batch statistics are averaged over the devices; batch norm itself
    sees the examples of its own device.

    Args:
      frames, held_out: where training and validation frames come from.
      augmentation: where it has a `crop`, that is cut from frames at their own size;
        else it is as large as the frames of `frames`. Padding has the colour that the
        network takes for nothing unless `pad` has another.
      eval_frames: evenly spaced held-out frames with labels that the mean IoU is
        measured on.
      start: draws the variables before the first update.
      freeze_batch_norm: normalise by the statistics at the start, which stay (DeepLab's
        `fine_tune_batch_norm` off; for batches below 12).
      precision: of the validation, see `ops.precision`; N learns in float32.

    Raises:
      UserError: frames without labels or with too many classes, or a crop or colour
        that is none.
    """
    net = build.segmenter_net(settings)
    rng = jax.random.key(seed)
    fitting.check_frames(settings, frames, held_out)
    _check(augmentation)
    crop = tuple(augmentation.crop)
    colour = tuple(augmentation.pad) or fitting.mean_colour(net)
    augmentation = augmentation._replace(pad=colour)
    frames, held_out = frames.padded(colour), held_out.padded(colour)

    def init_fn():
        variables = start()
        state = train_state.create(
            variables["params"], tx, variables.get("batch_stats", {})
        )
        return parallel.place(state, num_devices)

    def batch_fn(step):
        indices = sampling.frame_indices(frames, seed, step, batch_size)
        draw = sampling.generator(seed, step, sampling.AUGMENTATION)
        if crop:
            images, labels = _crops(frames, indices, draw, crop, augmentation)
        else:
            images, labels = frames.frames(indices)
            images, labels = augment.augment_batch(
                draw, images, labels, frames.size, augmentation
            )
        return Batch(images, labels, np.arange(batch_size, dtype=np.int32))

    def gradient(params, batch_stats, batch, rng):
        def loss_fn(params):
            logits, updated = net.apply(
                _variables(params, batch_stats),
                batch.images,
                train=not freeze_batch_norm,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.fold_in(rng, batch.index[0])},
            )
            scores = net.task(logits, batch.labels.shape[-2:])
            loss = losses.cross_entropy(
                scores, batch.labels, label_weights=label_weights
            )
            return loss, updated.get("batch_stats", {})

        (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        return parallel.mean_over_devices((grads, stats, loss))

    spread = parallel.data_parallel(
        gradient, (None, None, 0, None), num_devices=num_devices, how=how
    )
    apply = jax.jit(
        lambda state, grads, stats: train_state.apply_gradients(
            state, grads, tx, stats
        ),
        donate_argnums=0,
    )

    def update_fn(state, batch, step):
        grads, stats, loss = spread(
            state.params, state.model_state, batch, jax.random.fold_in(rng, step)
        )
        return apply(state, grads, stats), {"loss": loss}

    def eval_fn(state):
        variables = _variables(state.params, state.model_state)
        places = segmentation.spread_indices(len(held_out.labelled), eval_frames)
        return segmentation.score_frames(
            settings,
            {"segmenter": variables},
            held_out,
            held_out.labelled[places],
            batch_size=max(1, min(16, _EVAL_PIXELS // math.prod(held_out.size))),
            precision=precision,
        )._asdict()

    best = "miou_frame_mean"
    return Trainer(init_fn, batch_fn, update_fn, eval_fn, best, spread.split)


def _check(augmentation: augment.Augmentation) -> None:
    crop = tuple(augmentation.crop)
    if crop and not (len(crop) == 2 and min(crop) >= 1):
        raise UserError(
            f"augment.crop is {crop}; expected a height and a width of 1 or more, or "
            "(); change --config.augment.crop"
        )
    pad = tuple(augmentation.pad)
    if pad and not (len(pad) == 3 and 0 <= min(pad) <= max(pad) <= 255):
        raise UserError(
            f"augment.pad is {pad}; expected red, green and blue of 0 to 255, or (); "
            "change --config.augment.pad"
        )


def _crops(frames, indices, draw, size, how) -> tuple[np.ndarray, np.ndarray]:
    """Return crops of frames at their own size, augmented where they are decoded."""
    generators = draw.spawn(len(indices))
    crops = frames.each(
        indices,
        lambda place, image, label: augment.augment(
            generators[place], image, label, size, how
        ),
    )
    return tuple(np.stack(arrays) for arrays in zip(*crops, strict=True))


def variables(state: train_state.TrainState) -> Variables:
    """Return the variables of N that a training state holds, on the host."""
    found = _variables(state.params, state.model_state)
    return jax.tree.map(jnp.asarray, jax.device_get(found))


def _variables(params, batch_stats) -> Variables:
    """Join the collections; a network without batch norm has one."""
    return {"params": params} | ({"batch_stats": batch_stats} if batch_stats else {})
