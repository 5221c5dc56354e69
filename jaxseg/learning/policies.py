"""The stages that train policies: one alone, or a population on the same clips."""

from collections.abc import Sequence
from typing import Any

import jax

from jaxseg import build, model_file
from jaxseg.data import sampling, source
from jaxseg.errors import UserError
from jaxseg.evaluation import features, tables
from jaxseg.learning import (
    episodes,
    jobs,
    loop,
    optimizers,
    policy,
    population,
    recipe,
    shared,
    units,
)
from jaxseg.ops import precision
from jaxseg.runtime import metrics, runs
from jaxseg.types import Params

SPLIT = "B"  # A is for N and F, C for the last evaluation


def alone(config: dict[str, Any]) -> jobs.Job:
    """Return the stage of one policy."""
    stage = _Stage([config])

    def write_fn(run, state):
        jobs.write_model(run, model(config, stage.networks, state.params))

    return jobs.Job(stage.inputs, lambda: stage.trainer(config["seed"]), write_fn)


def together(config: dict[str, Any]) -> jobs.Job:
    """Return the stage of a population.

    Raises:
      UserError: unusable points, or a rollout that shares nothing.
    """
    points = population.points(config)
    if config["policy"]["rollout"] != "shared":
        raise UserError(
            f"policy.rollout is {config['policy']['rollout']!r}; expected shared, as "
            "policies of a population share their pairs; change "
            "--config.policy.rollout or train one by one with configs/policy.py"
        )
    members = [population.member(config, point) for point in points]
    stage, names = _Stage(members), [point.name for point in points]

    def trainer_fn():
        found = shared.points(stage.recipes)
        trainer = stage.trainer([point.seed for point in points], found)
        return population.by_name(trainer, names)

    def write_fn(run, state):
        records = metrics.read(run.folder)
        for index, (name, member) in enumerate(zip(names, members, strict=True)):
            folder = run.folder / name
            params = population.pick(state.params, index)
            found = model(member, stage.networks, params)
            population.write_member(
                folder, member, run.inputs, found, population.own(records, name)
            )
            runs.mark_done(folder)

    return jobs.Job(stage.inputs, trainer_fn, write_fn, result="")


def networks(config: dict[str, Any]) -> model_file.Model:
    """Read the N and F that a config's policies stand on."""
    return model_file.load(config["flow_run"], ["segmenter", "flow"])


def inputs(config: dict[str, Any], networks: model_file.Model) -> dict[str, str]:
    """Return digests of what the training of policies reads, and its precision."""
    data = tables.data_digest(config["data"]["prepared"])
    return {
        "networks": tables.digest(networks, data),
        # "auto" differs from machine to machine.
        "precision": precision.resolve(config["runtime"]["precision"]),
    }


def settings(config: dict[str, Any], networks: model_file.Model) -> dict[str, Any]:
    """Return the settings of N, F and the policy of a config."""
    both = {name: networks.settings[name] for name in ("segmenter", "flow")}
    return {**both, "policy": config["policy"]}


def model(
    config: dict[str, Any], networks: model_file.Model, params: Params
) -> model_file.Model:
    """Return the networks and a policy of a config as one model."""
    variables = {**networks.variables, "policy": jax.device_get(params)}
    return model_file.Model(settings(config, networks), variables)


class _Stage:
    """Policies whose configs differ in eta and seed alone, checked."""

    def __init__(self, configs: Sequence[dict[str, Any]]):
        config = self._config = configs[0]
        group = config["policy"]
        self.networks = networks(config)
        self._settings = settings(config, self.networks)
        self._tx = optimizers.of_group(config["train"])
        self._devices = jobs.devices(config)
        self.recipes = [
            recipe.recipe(settings(one, self.networks), self._devices["num_devices"])
            for one in configs
        ]
        features.check(config, self._settings)
        self._frames = source.FrameSource(
            config["data"]["prepared"], SPLIT, build.input_size(self._settings)
        )
        self._tabled = group["pairs"] == "tables"
        # Refuses what no run of the split has room for.
        clips = group["pool"] if self._tabled else 1
        sampling.spread_clips(self._frames, clips, group["episode_length"])
        self.inputs = inputs(config, self.networks)

    def trainer(
        self, seed: int | Sequence[int], points: shared.Points | None = None
    ) -> loop.Trainer:
        """Return the trainer of one policy, or of those of `points`."""
        how, group = self.recipes[0], self._config["policy"]
        make = episodes.tabled if self._tabled else episodes.on_the_fly
        gradient, frozen, episodes_fn = make(
            self._config, self.networks, self._settings, self._frames, how, points
        )

        def batch_fn(step):
            return units.make_units(
                episodes_fn(step), group["episodes"], group["trials"], how.split_trials
            )

        return policy.trainer(
            self._settings,
            gradient,
            frozen,
            batch_fn,
            self._tx,
            seed=seed,
            **self._devices,
        )
