"""How trajectories become a gradient: the policy group of a config, checked."""

from typing import Any, NamedTuple

from jaxseg import build, dynamic
from jaxseg.errors import UserError
from jaxseg.learning import objective, units
from jaxseg.ops import iou

_OPTIONS = {
    "returns": tuple(objective.RETURNS),
    "baseline": tuple(objective.BASELINES),
    "log_probability": objective.LOG_PROBABILITIES,
    "return_scale": objective.SCALES,
    "entropy_scale": objective.SCALES,
    "score_classes": iou.CLASS_SETS,
    "key_ratio": ("window", "elapsed", "non_key"),
    "key_distance": ("window", "frames", "clipped"),
    "pairs": ("networks", "tables"),
    "rollout": ("shared", "plain"),
}


class Recipe(NamedTuple):
    """How trajectories become a gradient; see `configs/policy.py` (static)."""

    rules: dynamic.Rules
    eta: float
    action_cap: float
    discount: float
    returns: str
    baseline: str
    terms: objective.Terms
    split_trials: int  # devices that share one episode
    chunk: int  # decisions whose logits are recomputed together


def recipe(settings: dict[str, Any], num_devices: int) -> Recipe:
    """Read the recipe of a policy group and check its numbers.

    Raises:
      UserError: eta outside (0, 1], an unknown option, or episodes and trials that do
        not divide over the devices.
    """
    p = settings["policy"]
    _check(p)
    return Recipe(
        rules=build.rules(settings),
        eta=p["eta"],
        action_cap=build.action_cap(settings),
        discount=p["discount"],
        returns=p["returns"],
        baseline=p["baseline"],
        terms=objective.Terms(
            entropy_cost=p["entropy_cost"],
            return_scale=p["return_scale"],
            entropy_scale=p["entropy_scale"],
            log_probability=p["log_probability"],
        ),
        split_trials=units.devices_per_episode(p["episodes"], p["trials"], num_devices),
        chunk=16 if p["pairs"] == "tables" else 1,
    )


def scoring(settings: dict[str, Any]) -> build.Scoring:
    """Return how the rewards of a policy group are scored."""
    p = settings["policy"]
    return build.Scoring(p["pseudo_labels"], p["score_classes"])


def _check(p: dict[str, Any]) -> None:
    if not 0.0 < p["eta"] <= 1.0:
        raise UserError(
            f"policy.eta is {p['eta']}; expected a key ratio above 0 and at most 1; "
            "change --config.policy.eta"
        )
    least = {"window": 1, "trials": 1, "episodes": 1, "episode_length": 2}
    least |= {"pool": 1} if p["pairs"] == "tables" else {}
    least |= {"clip_seed": 0} if p["clip_seed"] is not None else {}
    for name, lowest in least.items():
        if p[name] < lowest:
            raise UserError(
                f"policy.{name} is {p[name]}; expected {lowest} or more; change "
                f"--config.policy.{name}"
            )
    if p["kept_gib"] < 0:
        raise UserError(
            f"policy.kept_gib is {p['kept_gib']}; expected 0 or more; change "
            "--config.policy.kept_gib"
        )
    for name, low in (("action_cap", 0.5), ("discount", 0.0)):
        if not low <= p[name] <= 1.0:
            raise UserError(
                f"policy.{name} is {p[name]}; expected {low} to 1; change "
                f"--config.policy.{name}"
            )
    for name, allowed in _OPTIONS.items():
        if p[name] not in allowed:
            raise UserError(
                f"policy.{name} is {p[name]!r}; expected {' or '.join(allowed)}; "
                f"change --config.policy.{name}"
            )
