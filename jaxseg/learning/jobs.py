"""A stage of training, checked and ready to start."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxseg import model_file
from jaxseg.learning import loop, train_state
from jaxseg.runtime import parallel, runs


class Job(NamedTuple):
    """What `stages.train` needs of a stage."""

    inputs: dict[str, str]  # digests of what it reads
    trainer_fn: Callable[[], loop.Trainer]
    # Writes into the run folder what training has found.
    write_fn: Callable[[runs.Run, train_state.TrainState], None]
    result: str = model_file.NAME  # its place in the run folder


def write_model(run: runs.Run, model: model_file.Model) -> None:
    """Write the model file of a run."""
    model_file.save(run.folder, model, {"format": "jaxseg", "run": run.hash})


def devices(config: dict[str, Any]) -> dict[str, Any]:
    """Return how many devices a config asks for, and how they are used.

    Raises:
      UserError: there are fewer.
    """
    count = config["runtime"]["devices"] or None
    found = len(parallel.devices(count))
    return {"num_devices": found, "how": config["runtime"]["how"]}
