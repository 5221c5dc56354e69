"""Populations: policies that train together, and each of them alone.

P points, which are limits of the key ratio (eta) times seeds. What trains has the
points as its leading axis; a member is what `configs/policy.py` would train alone.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxseg import model_file
from jaxseg.errors import UserError
from jaxseg.learning import loop
from jaxseg.runtime import metrics, runs
from jaxseg.types import Array, Metrics

STAGE = "population"
_FIELDS = ("etas", "seeds")
_OF_ALL = ("pairs",)  # metrics that the policies have in common


class Point(NamedTuple):
    """One policy of a population."""

    eta: float
    seed: int  # of weights and actions

    @property
    def name(self) -> str:
        """Name metrics and folders of the policy."""
        return f"eta{self.eta}-seed{self.seed}"


def points(config: dict[str, Any]) -> list[Point]:
    """Return the points of a resolved config, etas first, and check them.

    Raises:
      UserError: none, the same one twice, or values that no policy can have.
    """
    group = config.get("points")
    if not isinstance(group, dict) or set(group) != set(_FIELDS):
        raise UserError(
            f"points is {group!r}; expected {' and '.join(_FIELDS)}; write both into "
            "the config"
        )
    for name in _FIELDS:
        _check(name, group[name])
    pairs = itertools.product(map(float, group["etas"]), group["seeds"])
    return [Point(eta, seed) for eta, seed in pairs]


def _check(name: str, values: Any) -> None:
    is_eta = name == "etas"
    fits = (lambda x: 0.0 < x <= 1.0) if is_eta else (lambda x: x >= 0)
    kinds = (int, float) if is_eta else int
    wanted = "key ratios above 0 and at most 1" if is_eta else "whole numbers from 0"

    def refuse(found):
        raise UserError(
            f"points.{name} {found}; expected {wanted}, each once and at least one; "
            f"change --config.points.{name}"
        )

    if not isinstance(values, list) or not values:
        refuse(f"is {values!r}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, kinds) or not fits(value):
            refuse(f"has {value!r}")
        if values.count(value) > 1:
            refuse(f"has {value!r} {values.count(value)} times")


def member(config: dict[str, Any], point: Point) -> dict[str, Any]:
    """Return the config of one policy alone, as `configs/policy.py` resolves it.

    The seed of the population is that of the clips, for all.
    """
    group = config["policy"] | {"eta": point.eta, "clip_seed": config["seed"]}
    rest = {name: value for name, value in config.items() if name != "points"}
    return rest | {"stage": "policy", "seed": point.seed, "policy": group}


def pick(tree: Any, index: int) -> Any:
    """Return the part of one policy of a tree with the leading axis P."""
    return jax.tree.map(lambda x: x[index], tree)


def by_name(trainer: loop.Trainer, names: Sequence[str]) -> loop.Trainer:
    """Turn metrics [P] of a trainer into "NAME/metric", and the loss into its mean."""

    @jax.jit
    def named(values: dict[str, Array]) -> Metrics:
        found = {"loss": values["loss"].mean()}
        found |= {name: values[name][0] for name in _OF_ALL}
        own = {name: x for name, x in values.items() if name not in _OF_ALL}
        for index, point in enumerate(names):
            found |= {f"{point}/{name}": x[index] for name, x in own.items()}
        return found

    def update_fn(state, batch, step):
        state, values = trainer.update_fn(state, batch, step)
        return state, named(values)

    return trainer._replace(update_fn=update_fn)


def write_member(
    folder: str | Path,
    config: dict[str, Any],
    inputs: dict[str, str],
    model: model_file.Model,
    records: Sequence[dict[str, float]],
) -> None:
    """Write what a run of one policy leaves: config.json, metrics.jsonl and the model.

    Args:
      config: of the policy alone.
      records: of the policy alone.

    Raises:
      UserError: the folder belongs to something else, or cannot be written.
    """
    run = runs.open_run(folder, config, config["stage"], inputs)
    with metrics.MetricWriter(folder) as writer:
        for record in records:
            values = dict(record)
            writer.write(values.pop("step"), values)
    model_file.save(folder, model, {"format": "jaxseg", "run": run.hash})


def own(records: Sequence[dict[str, float]], name: str) -> list[dict[str, float]]:
    """Return the records of one policy, of those of its population."""
    start = f"{name}/"
    return [
        {"step": record["step"]}
        | {
            key.removeprefix(start): x
            for key, x in record.items()
            if key.startswith(start)
        }
        for record in records
    ]
