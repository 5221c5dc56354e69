"""What bfloat16 changes: the same networks on the same frames in both precisions.

T frames and P pairs (key frame k, frame i) of a clip, h x w the grid of the flow.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build, dynamic, model_file
from jaxseg.data import sampling, source
from jaxseg.dynamic import history
from jaxseg.evaluation import checks, comparison, speed, tables
from jaxseg.runtime import files, progress, runs

PRECISION = "precision.json"
PRECISIONS = ("float32", "bfloat16")


class Pairs(NamedTuple):
    """Pairs of a clip, and a history for each that a policy may have had."""

    key_frame: np.ndarray  # [P]
    frame: np.ndarray  # [P]
    keys: np.ndarray  # [P] in 0..1: of the keys that a budget allows


class Findings(NamedTuple):
    """What networks say of a clip in one precision."""

    key_score: np.ndarray  # [T] mean IoU of N
    score: np.ndarray  # [P] of frames propagated from their keys
    flow: np.ndarray  # [P, h, w, 2] in pixels of the grid
    probability: np.ndarray  # [policies, P] of key


def evaluate(config: dict[str, Any], folder: str | Path) -> dict[str, Any]:
    """Compare both precisions as a resolved config says; return what is written.

    A policy that samples decides differently at the same observation and draw with a
    chance that is the difference of its probabilities.

    Raises:
      UserError: unusable values, policies on different networks, another config.
    """
    checks.names(config, "policy_runs", "folders of trained policies")
    for name, least in (("clips", 1), ("clip_length", 2), ("pairs", 1), ("seed", 0)):
        checks.at_least(config, name, least)
    models = [model for _, model in comparison.load(config["policy_runs"])]
    size = build.input_size(models[0].settings)
    frames = source.FrameSource(config["data"]["prepared"], config["split"], size)
    starts = sampling.spread_clips(frames, config["clips"], config["clip_length"])
    data = tables.data_digest(config["data"]["prepared"])
    inputs = {
        run: tables.digest(model, data, parts=model_file.PARTS)
        for run, model in zip(config["policy_runs"], models, strict=True)
    }
    run = runs.open_run(folder, config, "precision", inputs)
    path = Path(folder) / PRECISION
    if runs.is_done(folder):
        return json.loads(path.read_text())
    with runs.locked(folder):
        found = _compare(config, models, frames, starts) | {"run": run.hash}
        files.write_atomically(path, json.dumps(found, indent=2) + "\n")
        runs.mark_done(folder)
    return found


def _compare(config, models, frames, starts) -> dict[str, Any]:
    found = {precision: [] for precision in PRECISIONS}
    with progress.bar(len(starts) * len(PRECISIONS), 0, "clips") as bar:
        for number, start in enumerate(starts):
            clip = dynamic.Clip(*frames.clip(start, config["clip_length"]))
            pairs = draw(config["pairs"], len(clip.images), (config["seed"], number))
            for precision, clips in found.items():
                clips.append(_findings(models, clip, pairs, precision))
                bar.advance(1)
    wide, narrow = (Findings(*map(_join, zip(*clips))) for clips in found.values())
    flow = np.linalg.norm(narrow.flow - wide.flow, axis=-1)
    return {
        "frames": wide.key_score.size,
        "pairs": wide.score.size,
        "key_score": _difference(narrow.key_score, wide.key_score),
        "score": _difference(narrow.score, wide.score),
        "flow": {
            "mean_length": float(np.linalg.norm(wide.flow, axis=-1).mean()),
            "mean_difference": float(flow.mean()),
            "largest": float(flow.max()),
        },
        "policies": [
            {"eta": model.settings["policy"]["eta"]} | _difference(ours, theirs)
            for model, ours, theirs in zip(
                models, narrow.probability, wide.probability, strict=True
            )
        ],
        "hardware": speed.hardware(),
    }


def _join(parts) -> np.ndarray:
    return np.concatenate(parts, axis=-1 if np.ndim(parts[0]) == 2 else 0)


def _difference(narrow: np.ndarray, wide: np.ndarray) -> dict[str, float]:
    """Return both means, and the mean and the largest difference of two arrays."""
    apart = np.abs(narrow - wide)
    found = {"float32": wide.mean(), "bfloat16": narrow.mean()}
    found |= {"mean_difference": apart.mean(), "largest": apart.max()}
    return {name: float(value) for name, value in found.items()}


def draw(count: int, num_frames: int, seed: Any) -> Pairs:
    """Draw pairs of a clip of T frames, all as likely."""
    rng = np.random.default_rng(seed)
    keys, frames = dynamic.all_pairs(num_frames)
    chosen = rng.integers(0, len(keys), count)
    return Pairs(keys[chosen], frames[chosen], rng.uniform(size=count))


def _findings(models, clip, pairs: Pairs, precision: str) -> Findings:
    model = models[0]
    episode = tables.episode_of(model, clip, precision=precision)
    found = dynamic.evaluate_pairs(
        _pair_fn(model.settings, precision),
        model.variables,
        episode,
        pairs.key_frame,
        pairs.frame,
        batch_size=min(tables.batch_size(model.settings), len(pairs.frame)),
    )
    seen = found.deviation
    return Findings(
        np.asarray(episode.key_scores),
        found.non_key_score,
        seen["flow"],
        np.stack(
            [_probability(m, seen["deviation"], pairs, precision) for m in models]
        ),
    )


@build.cached("segmenter", "flow")
def _pair_fn(settings, precision) -> dynamic.PairFn:
    """Return the pair function whose deviation has the flow beside it."""
    framework, score = build.framework(settings, precision), build.score_fn(settings)

    def pair(variables, episode, key_frame, frame):
        key, current = (
            jax.tree.map(lambda x, at=at: x[at], episode) for at in (key_frame, frame)
        )
        motion = framework.motion_fn(variables, current.views, key.views)
        features = framework.propagate_fn(motion, key.features)
        labels = framework.task_fn(variables, features)
        seen = {"deviation": framework.deviation_fn(motion), "flow": motion.flow}
        return dynamic.Pair(seen, score(labels, current.targets))

    return pair


def _probability(model, deviation, pairs: Pairs, precision) -> np.ndarray:
    """Return the key probabilities [P] of a policy."""
    rules, eta = build.rules(model.settings), model.settings["policy"]["eta"]
    policy_fn = build.policy_fn(model.settings, precision)
    distance = pairs.frame - pairs.key_frame
    ratio = np.floor(pairs.keys * (eta * rules.window + 1)) / rules.window

    @jax.jit
    def probabilities(variables, deviation, ratio, distance, frame):
        def one(deviation, ratio, distance, frame):
            expert = jnp.stack([ratio, history.scaled_distance(rules, distance)])
            seen = dynamic.Observation(deviation, expert, distance, frame)
            return jax.nn.softmax(policy_fn(variables, seen))[1]

        return jax.vmap(one)(deviation, ratio, distance, frame)

    ratio = ratio.astype(np.float32)
    policy = model.variables["policy"]
    return np.asarray(probabilities(policy, deviation, ratio, distance, pairs.frame))
