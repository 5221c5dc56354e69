"""Take one policy out of a population, whether that is finished or still trains."""

from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxseg import build
from jaxseg.errors import UserError
from jaxseg.learning import loop, optimizers, policies, population, train_state
from jaxseg.runtime import checkpoint, metrics, runs


class Taken(NamedTuple):
    """How far a policy was when it was taken."""

    step: int
    steps: int


def take(folder: str | Path, name: str, out: str | Path) -> Taken:
    """Write the run folder of one policy, as a population's last checkpoint has it.

    It holds the policy's config.json, metrics.jsonl, checkpoints/ and
    model.safetensors, so that everything that reads runs of policies reads it, and
    `stages.train` goes on with it alone; DONE too where the population has come to its
    last update. The population is read only; another process may train it meanwhile.

    Args:
      folder: of the population.
      name: of the policy, for example "eta0.06-seed0".
      out: a new folder.

    Raises:
      UserError: no population, policy or checkpoint there, other networks than it was
        trained with, or a folder that is not free.
    """
    run = runs.read_run(folder)
    if run.stage != population.STAGE:
        raise UserError(
            f"{folder} is a run of stage {run.stage}; expected {population.STAGE}; "
            "give the --run of a training with configs/population.py"
        )
    points = {point.name: point for point in population.points(run.config)}
    if name not in points:
        raise UserError(
            f"{folder} has no policy {name!r}; expected one of {', '.join(points)}; "
            "give one of these"
        )
    if (Path(out) / runs.CONFIG_FILE).exists():
        raise UserError(f"{out} is a run already; expected a new folder; give another")
    config = population.member(run.config, points[name])
    networks = policies.networks(config)
    if policies.inputs(config, networks) != run.inputs:
        raise UserError(
            f"{folder} was made with another content of {config['flow_run']} or "
            f"{config['data']['prepared']}; expected the same; put the old one back"
        )
    settings = policies.settings(config, networks)
    step, states = _restore(Path(folder), _template(settings, config, len(points)))
    state = population.pick(states, list(points).index(name))
    records = [one for one in metrics.read(folder) if one["step"] <= step]
    with runs.locked(out):
        population.write_member(
            out,
            config,
            run.inputs,
            policies.model(config, networks, state.params),
            population.own(records, name),
        )
        with checkpoint.Checkpoints(Path(out) / loop.CHECKPOINTS) as saved:
            saved.save(step, state)
        taken = Taken(step, config["train"]["steps"])
        if taken.step == taken.steps:
            runs.mark_done(out)
    return taken


def _template(settings: dict[str, Any], config: dict[str, Any], count: int):
    """Return shapes and types of the state of P policies."""
    optimizer = optimizers.of_group(config["train"])
    alone = jax.eval_shape(
        lambda params: train_state.create(params, optimizer),
        build.shapes(settings, "policy"),
    )
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype), alone
    )


def _restore(folder: Path, template: Any) -> tuple[int, train_state.TrainState]:
    checkpoints = folder / loop.CHECKPOINTS
    found = None
    if checkpoints.is_dir():
        with checkpoint.Checkpoints(checkpoints, read_only=True) as saved:
            found = saved.restore_latest(template)
    if found is None:
        raise UserError(
            f"{folder} has no checkpoint yet; expected one; train it further first"
        )
    return found
