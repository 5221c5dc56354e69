"""Score every scheduler on one clip, from the table of its pairs."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build, dynamic, model_file
from jaxseg.dynamic import pairs
from jaxseg.evaluation import specs, tables
from jaxseg.ops import iou


class Outcome(NamedTuple):
    """What one scheduler did on one clip, for V parameter values; means over draws."""

    keys: np.ndarray  # [V] key frames, the first frame counted
    score: np.ndarray  # [V] sum over frames of the per-frame mean IoU
    confusion: np.ndarray  # [V, C, C] summed over frames


class ClipScores(NamedTuple):
    """All that is kept of a clip, or of several together."""

    frames: int
    clips: int  # as many first frames, which are key by rule
    outcomes: dict[str, Outcome]  # by label of the spec
    optimum: np.ndarray  # [T] best total score for 1 .. T keys


@build.cached("segmenter", "flow")
def table_fn(
    settings: dict[str, Any], classes: str = "present", precision: str = "float32"
) -> dynamic.PairFn:
    """Return the pair function of evaluation: D_{i->k} with the confusion matrix.

    Args:
      classes: that the mean IoU counts, see `iou.mean_iou`.
      precision: of F, see `ops.precision`.
    """
    count = functools.partial(
        iou.confusion, num_classes=settings["segmenter"]["num_classes"]
    )
    matrices = dynamic.networks_pair(build.framework(settings, precision), count)

    def pair(variables, episode, key_frame, frame):
        deviation, matrix = matrices(variables, episode, key_frame, frame)
        seen = {"deviation": deviation, "confusion": matrix.astype(jnp.int32)}
        return dynamic.Pair(seen, iou.mean_iou(matrix, classes))

    return pair


def key_confusions(model: model_file.Model, episode: dynamic.Episode) -> np.ndarray:
    """Return the confusion matrix of every frame as a key frame, [T, C, C]."""
    return np.asarray(
        _key_confusions(model.settings)(episode.features, episode.targets)
    )


@build.cached("segmenter")
def _key_confusions(settings):
    net, size = build.segmenter_net(settings), build.input_size(settings)

    def one(features_and_target):
        features, target = features_and_target
        prediction = net.labels(features, size)
        return iou.confusion(prediction, target, settings["segmenter"]["num_classes"])

    return jax.jit(lambda *arrays: jax.lax.map(one, arrays, batch_size=16))


def score_clip(
    model: model_file.Model,
    compared: dict[str, specs.Spec],
    clip: dynamic.Clip,
    *,
    classes: str = "present",
    precision: str = "float32",
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> ClipScores:
    """Build the table of a clip and roll every scheduler out over it.

    No stop rule holds. Draw d of a scheduler uses the random key (seed, d); give every
    clip a seed of its own.

    Args:
      model: settings and variables of N and F.
      compared: label -> spec.
      clip: with labels.
      classes: that the mean IoU counts, see `iou.mean_iou`.
      precision: of N and F, see `ops.precision`; policies have theirs in their specs.
      progress: called with numbers of finished pairs.
    """
    scoring = build.Scoring(classes=classes)
    episode = tables.episode_of(model, clip, scoring, precision)
    table = dynamic.build_table(
        table_fn(model.settings, classes, precision),
        model.variables,
        episode,
        batch_size=tables.batch_size(model.settings),
        progress=progress,
    )
    keyed = key_confusions(model, episode)
    on_device = jax.tree.map(jnp.asarray, table)
    outcomes = {
        label: _outcome(spec, on_device, table, keyed, seed)
        for label, spec in compared.items()
    }
    frames = len(table.key_scores)
    dense = dynamic.dense_scores(table.scores, frames)
    best = dynamic.optimum(dense, table.key_scores)
    return ClipScores(frames, 1, outcomes, best.totals)


def _outcome(spec, on_device, table, keyed, seed) -> Outcome:
    rngs = dynamic.trial_rngs(jax.random.key(seed), jnp.arange(spec.draws))
    run = _rollouts(spec.scheduler, spec.rules)
    trajectory = jax.device_get(
        run(spec.variables, jnp.asarray(spec.values), rngs, on_device)
    )  # [V, draws, T-1]
    keys = trajectory.action.sum(-1) + 1.0
    score = trajectory.score.sum(-1) + table.key_scores[0]
    # How often each pair and each key frame was used says what to sum.
    frames, count = table.key_scores.shape[0], len(table.scores)
    rows = pairs.pair_row(trajectory.key_frame, trajectory.frame)
    matrices = []
    for action, row, frame in zip(
        trajectory.action, rows, trajectory.frame, strict=True
    ):
        uses = np.bincount(row[~action], minlength=count).astype(float)
        key_uses = np.bincount(frame[action], minlength=frames).astype(float)
        key_uses[0] += len(action)
        confusions = table.deviations["confusion"]
        total = np.tensordot(uses, confusions, 1) + np.tensordot(key_uses, keyed, 1)
        matrices.append(total / len(action))
    return Outcome(keys.mean(-1), score.mean(-1), np.stack(matrices))


@functools.lru_cache(maxsize=32)
def _rollouts(scheduler, rules):
    def one(variables, value, rng, table):
        params = value if variables is None else (variables, value)
        # Infinity switches the stop rule off.
        rollout_params = dynamic.RolloutParams(None, params, jnp.float32(jnp.inf))
        return dynamic.rollout(
            dynamic.tabled_pair, scheduler, rollout_params, rng, table, rules=rules
        )

    draws = jax.vmap(one, in_axes=(None, None, 0, None))
    return jax.jit(jax.vmap(draws, in_axes=(None, 0, None, None)))


def merge(scores: Sequence[ClipScores]) -> ClipScores:
    """Add up the clips of one video (or of a split); optima share their keys."""
    outcomes = {
        label: jax.tree.map(lambda *x: sum(x), *(s.outcomes[label] for s in scores))
        for label in scores[0].outcomes
    }
    best = dynamic.combine([s.optimum for s in scores])[1:]
    frames, clips = sum(s.frames for s in scores), sum(s.clips for s in scores)
    return ClipScores(frames, clips, outcomes, best)
