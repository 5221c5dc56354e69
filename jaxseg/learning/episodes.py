"""Where the episodes of a policy's mini-batches come from.

Both functions return what `learning.policy.trainer` wants: a gradient, the frozen
variables it reads, and a function step -> what the units of a mini-batch carry. With
`points` they are those of the policies of a population, otherwise of one policy.
"""

import math
from pathlib import Path

import jax
import numpy as np

from jaxseg import build, dynamic
from jaxseg.data import sampling
from jaxseg.evaluation import features, tables
from jaxseg.learning import policy, recipe, shared
from jaxseg.runtime import progress


def on_the_fly(
    config,
    model,
    settings,
    frames,
    how: recipe.Recipe,
    points: shared.Points | None = None,
):
    """Episodes drawn from the whole split, networks run on the fly.

    N runs where its features are not stored.
    """
    group = config["policy"]
    scoring = recipe.scoring(settings)
    episode_fn, seed = build.prepare_fn(settings, scoring), _clip_seed(config)
    clip_fn = features.clips(config, model, frames, scoring)

    def episodes_fn(step):
        starts = sampling.clip_starts(
            frames, seed, step, group["episodes"], group["episode_length"]
        )
        clips = [clip_fn(start, group["episode_length"]) for start in starts]
        return jax.tree.map(lambda *arrays: np.stack(arrays), *clips)

    make = _gradient_fn(group, points)
    if group["rollout"] == "shared":
        more = {"how": _sharing(config, settings)}
    else:
        more = {"each": lambda fn: lambda units: jax.lax.map(fn, units)}
    gradient = make(
        how,
        build.pair_fn(settings, scoring),
        build.policy_fn(settings),
        episode_fn=episode_fn,
        **more,
    )
    parts = ["flow"]  # stored features need no N
    if config["data"]["features"] == features.COMPUTED:
        parts.append("segmenter")
    networks = {name: model.variables[name] for name in parts}
    return gradient, _with_points(networks, points), episodes_fn


def tabled(
    config,
    model,
    settings,
    frames,
    how: recipe.Recipe,
    points: shared.Points | None = None,
):
    """Episodes drawn from a pool of clips whose pairs were computed once."""
    group = config["policy"]
    pool = _pool(config, model, frames, recipe.scoring(settings))
    seed = _clip_seed(config)

    def episodes_fn(step):
        draw = np.random.default_rng((seed, step))
        clips = draw.choice(
            group["pool"], group["episodes"], replace=group["pool"] < group["episodes"]
        )
        return dynamic.PooledEpisode(clips.astype(np.int32), pool.key_scores[clips])

    make = _gradient_fn(group, points)
    gradient = make(how, dynamic.pooled_pair, build.policy_fn(settings))
    return gradient, _with_points(pool, points), episodes_fn


def _gradient_fn(group, points):
    if points is not None:
        return shared.population_gradient_fn
    return shared.gradient_fn if group["rollout"] == "shared" else policy.gradient_fn


def _with_points(frozen, points):
    return frozen if points is None else (frozen, points)


def _clip_seed(config) -> int:
    seed = config["policy"]["clip_seed"]
    return config["seed"] if seed is None else seed


def _sharing(config, settings) -> dynamic.Sharing:
    """Return how many deviations of pairs a device keeps for the gradient."""
    group = config["policy"]
    shape = build.deviation_shape(settings)
    rows = int(group["kept_gib"] * 2**30 / (4 * math.prod(shape)))
    return dynamic.Sharing(kept=rows)


def _pool(config, model, frames, scoring) -> dynamic.PairTable:
    """Read or compute the tables of the pool; they lie beside the model of F."""
    group = config["policy"]
    length, count = group["episode_length"], group["pool"]
    starts = sampling.spread_clips(frames, count, length)
    name = tables.digest(model, features.identity(config), scoring)
    clip_fn = features.clips(config, model, frames, scoring)
    run = Path(config["flow_run"])  # or a model file
    folder = (run if run.is_dir() else run.parent) / "tables" / name
    pairs = length * (length - 1) // 2
    with progress.bar(count * pairs, 0, "pair tables") as bar:
        found = [
            tables.clip_table(
                model,
                lambda start=start: clip_fn(start, length),
                folder / f"{frames.split}-{start}-{length}.npz",
                scoring=scoring,
                progress=bar.advance,
            )
            for start in starts
        ]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)
