"""Train the flow network F with N frozen, on the segmentation that it propagates."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxseg import build, dynamic, model_file
from jaxseg.data import sampling, source
from jaxseg.evaluation import segmentation
from jaxseg.learning import fitting, losses, train_state
from jaxseg.learning.loop import Trainer
from jaxseg.models import segmenter
from jaxseg.ops import resize, warp
from jaxseg.runtime import parallel
from jaxseg.types import Array, PRNGKey, Variables


class Batch(NamedTuple):
    current: np.ndarray  # [B, H, W, 3] uint8
    key: np.ndarray  # [B, H, W, 3] uint8
    labels: np.ndarray  # [B, H, W] uint8, of the current frames
    index: np.ndarray  # [B] int32, place in the whole batch


class Options(NamedTuple):
    """How F is trained; see `configs/flow.py`."""

    batch_size: int
    max_gap: int = 30
    min_gap: int = 1  # 0 has pairs of a frame with itself
    warmup_steps: int = 0
    warmup_motion: float = 0.12
    flip: bool = True
    eval_pairs: int = 512


def trainer(
    model: model_file.Model,
    pairs: source.FrameSource,
    held_out: source.FrameSource,
    options: Options,
    tx: optax.GradientTransformation,
    *,
    start: Callable[[], Variables],
    seed: int,
    num_devices: int | None = None,
    how: str = "pmap",
    precision: str = "float32",
) -> Trainer:
    """Return the trainer of F.

    Pairs are `min_gap` to `max_gap` frames apart, the key first; the loss is the
    cross-entropy of the propagated features (Deep Feature Flow with N frozen; section
    4.2). For the first `warmup_steps` the current frame is the key one moved by a known
    random smooth motion, and the loss is the end-point error, summed over the five
    levels of F.

    Args:
      model: settings of segmenter and flow; variables of the segmenter.
      start: draws the variables of F before the first update.
      precision: of N and of the validation, see `ops.precision`; F learns in float32.
    """
    settings, frozen = model.settings, dict(model.variables)
    fitting.check_frames(settings, pairs, held_out)
    # N is frozen, so it may be computed as it will be used.
    framework = build.framework(settings)._replace(
        feature_fn=build.feature_fn(settings, precision)
    )
    flow_frame = build.flow_frame_fn(settings)
    net, segmenter_net = build.flow_net(settings), build.segmenter_net(settings)
    colour = fitting.mean_colour(segmenter_net)
    pairs, held_out = pairs.padded(colour), held_out.padded(colour)
    rng = jax.random.key(seed)
    frozen = parallel.place(frozen, num_devices)

    def init_fn():
        state = train_state.create(start(), tx)
        return parallel.place(state, num_devices)

    def batch_fn(step):
        keys, current = sampling.pair_indices(
            pairs, seed, step, options.batch_size, options.max_gap, options.min_gap
        ).T
        key_images = pairs.images(keys)
        images, labels = pairs.frames(current)
        if options.flip:
            turn = (
                sampling.generator(seed, step, sampling.FLIPS).random(len(keys)) < 0.5
            )
            for array in (key_images, images, labels):
                array[turn] = array[turn, :, ::-1]
        index = np.arange(options.batch_size, dtype=np.int32)
        return Batch(images, key_images, labels, index)

    def propagated_loss(params, frozen, batch, rng):
        variables = {**frozen, "flow": params}

        def propagate(current, key):
            return dynamic.propagate_image(framework, variables, current, key)

        propagated = jax.vmap(propagate)(batch.current, batch.key)
        return segmentation_loss(segmenter_net, propagated, batch.labels)

    def warmup_loss(params, frozen, batch, rng):
        def error(index, image):
            key = flow_frame(image)
            true = random_flow(
                jax.random.fold_in(rng, index), key.shape[:2], options.warmup_motion
            )
            moved = warp.warp(key, true)  # moved(p) = key(p + true(p))
            levels = net.apply(params, moved[None], key[None], method=net.pyramid)
            return sum(end_point_error(found[0], true) for found in levels)

        return jax.vmap(error)(batch.index, batch.current).mean()

    def spread(loss_fn):
        def gradient(params, frozen, batch, rng):
            loss, grads = jax.value_and_grad(loss_fn)(params, frozen, batch, rng)
            return parallel.mean_over_devices((grads, loss))

        return parallel.data_parallel(
            gradient, (None, None, 0, None), num_devices=num_devices, how=how
        )

    warmup, train = spread(warmup_loss), spread(propagated_loss)
    apply = jax.jit(
        lambda state, grads: train_state.apply_gradients(state, grads, tx),
        donate_argnums=0,
    )

    def update_fn(state, batch, step):
        gradient = warmup if step <= options.warmup_steps else train
        grads, loss = gradient(
            state.params, frozen, batch, jax.random.fold_in(rng, step)
        )
        return apply(state, grads), {"loss": loss}

    def eval_fn(state):
        keys, current = sampling.pair_indices(
            held_out, 0, 0, options.eval_pairs, options.max_gap, options.min_gap
        ).T
        variables = {**parallel.local(frozen), "flow": state.params}
        return segmentation.score_pairs(
            settings, variables, held_out, keys, current, precision=precision
        )._asdict()

    best = "miou_frame_mean"
    return Trainer(init_fn, batch_fn, update_fn, eval_fn, best, train.split)


def segmentation_loss(
    net: segmenter.Segmenter, features: Array, labels: Array
) -> Array:
    """Return the cross-entropy of propagated features, upsampled as `net` does.

    Args:
      features: [..., h, w, C], probabilities or logits as `net.POSTERIOR` says.
      labels: [..., H, W]; 255 is ignored.
    """
    scores = net.task(features, labels.shape[-2:])
    if net.POSTERIOR:
        return losses.posterior_cross_entropy(scores, labels)
    return losses.cross_entropy(scores, labels)


def random_flow(rng: PRNGKey, size: tuple[int, int], motion: float) -> Array:
    """Draw a smooth flow [h, w, 2]: a shift, an affine part and waves of a 4 x 4 grid.

    Args:
      motion: scale of the displacement, in widths of the frame.
    """
    height, width = size
    shift_rng, affine_rng, wave_rng, scale_rng = jax.random.split(rng, 4)
    strength = motion * width * jax.random.uniform(scale_rng) ** 2
    y, x = jnp.meshgrid(
        jnp.linspace(-1.0, 1.0, height), jnp.linspace(-1.0, 1.0, width), indexing="ij"
    )
    place = jnp.stack([x, y], -1)
    shift = jax.random.normal(shift_rng, (2,))
    affine = 0.7 * jax.random.normal(affine_rng, (2, 2))
    waves = 0.7 * jax.random.normal(wave_rng, (4, 4, 2))
    return strength * (shift + place @ affine + resize.resize_bilinear(waves, size))


def end_point_error(found: Array, true: Array) -> Array:
    """Return the mean end-point error in pixels of the grid of `true`.

    Args:
      found: [h, w, 2] in pixels of its own grid; it is resized to that of `true`.
      true: [H, W, 2].
    """
    found = resize.resize_flow(found, true.shape[:2])
    return jnp.sqrt(((found - true) ** 2).sum(-1) + 1e-6).mean()
