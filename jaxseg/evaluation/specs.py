"""Which schedulers are compared, each at a list of its own parameter's values."""

from typing import Any, NamedTuple

import numpy as np

from jaxseg import build, dynamic, model_file


class Spec(NamedTuple):
    """One scheduler swept over one parameter: a curve, or one point of it."""

    name: str  # column `scheduler`
    scheduler: dynamic.Scheduler  # params: a value, or (variables, a value)
    values: np.ndarray  # [V] column `parameter`
    variables: Any = None  # of a policy network
    draws: int = 1  # rollouts that differ in randomness alone, averaged
    rules: dynamic.Rules = dynamic.Rules()
    eta: float | None = None  # budget that the policy was trained under
    seed: int | None = None  # None where nothing is random
    kind: str = "rule"  # "policy" where every frame runs a policy network


def fixed(intervals) -> Spec:
    """Key every n frames, for every n of `intervals`."""
    return Spec("fixed", dynamic.fixed_interval(), np.asarray(intervals, np.int32))


def random(rates, draws: int, seed: int = 0) -> Spec:
    """Key at random, for every rate of `rates`, averaged over draws."""
    values = np.asarray(rates, np.float32)
    return Spec("random", dynamic.random_rate(), values, draws=draws, seed=seed)


def policy(
    model: model_file.Model, thresholds, seed: int, precision: str = "float32"
) -> Spec:
    """Key where the policy's probability exceeds tau, for every tau of `thresholds`."""
    return Spec(
        "policy",
        dynamic.thresholded(_scored_policy(model, precision)),
        np.asarray(thresholds, np.float32),
        model.variables["policy"],
        rules=build.rules(model.settings),
        eta=model.settings["policy"]["eta"],
        seed=seed,
        kind="policy",
    )


def sampled_policy(
    model: model_file.Model, draws: int, seed: int, precision: str = "float32"
) -> Spec:
    """Sample from the policy as it is, with no cap and no stop rule."""
    return Spec(
        "policy_sampled",
        dynamic.sampled(_scored_policy(model, precision)),
        np.ones(1, np.float32),  # the cap
        model.variables["policy"],
        draws,
        rules=build.rules(model.settings),
        eta=model.settings["policy"]["eta"],
        seed=seed,
        kind="policy",
    )


def _scored_policy(model, precision):
    policy_fn = build.policy_fn(model.settings, precision)
    return lambda variables, observation: policy_fn(
        variables,
        observation._replace(deviation=observation.deviation["deviation"]),
    )
