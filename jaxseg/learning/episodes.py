"""Where the episodes of a policy's mini-batches come from.

All networks are computed at the config's `runtime.precision`, but for the policy where
its gradient is taken, which is float32.

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
from jaxseg.ops import precision as precisions
from jaxseg.runtime import distributed, progress


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
    precision = precisions.resolve(config["runtime"]["precision"])
    episode_fn = build.prepare_fn(settings, scoring, precision)
    seed, clip_fn = _clip_seed(config), features.clips(config, model, frames, scoring)

    def episodes_fn(step):
        starts = sampling.clip_starts(
            frames, seed, step, group["episodes"], group["episode_length"]
        )
        clips = [clip_fn(start, group["episode_length"]) for start in starts]
        return jax.tree.map(lambda *arrays: np.stack(arrays), *clips)

    make = _gradient_fn(group, points)
    if group["rollout"] == "shared":
        more = {"how": _sharing(config, settings, precision)}
    else:
        more = {"each": lambda fn: lambda units: jax.lax.map(fn, units)}
    gradient = make(
        how,
        build.pair_fn(settings, scoring, precision),
        build.policy_fn(settings, precision),
        learner=build.policy_fn(settings),
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
    precision = precisions.resolve(config["runtime"]["precision"])
    pool = _pool(config, model, frames, recipe.scoring(settings), precision)
    seed = _clip_seed(config)

    def episodes_fn(step):
        draw = np.random.default_rng((seed, step))
        clips = draw.choice(
            group["pool"], group["episodes"], replace=group["pool"] < group["episodes"]
        )
        return dynamic.PooledEpisode(clips.astype(np.int32), pool.key_scores[clips])

    make = _gradient_fn(group, points)
    gradient = make(
        how,
        dynamic.pooled_pair,
        build.policy_fn(settings, precision),
        learner=build.policy_fn(settings),
    )
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


def _sharing(config, settings, precision) -> dynamic.Sharing:
    """Return how many deviations of pairs a device keeps for the gradient."""
    group = config["policy"]
    size = math.prod(build.deviation_shape(settings))
    size *= precisions.dtype(precision).itemsize
    rows = int(group["kept_gib"] * 2**30 / size)
    return dynamic.Sharing(kept=rows)


def _pool(config, model, frames, scoring, precision) -> dynamic.PairTable:
    """Read or compute the tables of the pool; they lie beside the model of F."""
    group = config["policy"]
    length, count = group["episode_length"], group["pool"]
    starts = sampling.spread_clips(frames, count, length)
    name = tables.digest(model, features.identity(config), scoring, precision=precision)
    clip_fn = features.clips(config, model, frames, scoring)
    run = Path(config["flow_run"])  # or a model file
    folder = (run if run.is_dir() else run.parent) / "tables" / name

    def read(starts, shown):
        total = len(starts) * length * (length - 1) // 2
        silent = progress.Silent()
        with progress.bar(total, 0, "pair tables") if shown else silent as bar:
            return [
                tables.clip_table(
                    model,
                    lambda start=start: clip_fn(start, length),
                    folder / f"{frames.split}-{start}-{length}.npz",
                    scoring=scoring,
                    precision=precision,
                    progress=bar.advance,
                )
                for start in starts
            ]

    if distributed.several():
        # Each writes its share, then all read all.
        read(distributed.mine(starts), shown=distributed.is_first())
        distributed.wait_for_all("pair tables")
    found = read(starts, shown=not distributed.several())
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)
