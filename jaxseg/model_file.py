"""Model files: what training has produced so far, in one file that describes itself.

A model is settings and variables of the segmenter, then of the flow network, then of
the policy. It travels as one safetensors file with the settings in its metadata, so
that a later stage or a stream needs no configuration.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg import build
from jaxseg.errors import UserError
from jaxseg.runtime import weights
from jaxseg.types import Variables

NAME = "model.safetensors"
PARTS = ("segmenter", "flow", "policy")
ALL_PARTS = (*PARTS, "decision")  # DVSNet has the latter in the policy's place


class Model(NamedTuple):
    """Networks trained so far; keys of both are names of `ALL_PARTS`."""

    settings: dict[str, dict[str, Any]]
    variables: dict[str, Variables]


def save(folder: str | Path, model: Model, metadata: Mapping[str, str]) -> Path:
    """Write the model file of a run folder."""
    path = Path(folder) / NAME
    write(path, model, metadata)
    return path


def write(path: Path, model: Model, metadata: Mapping[str, str]) -> None:
    """Write a model file; the settings go into its metadata."""
    settings = {name: json.dumps(value) for name, value in model.settings.items()}
    weights.save_weights(path, model.variables, {**metadata, **settings})


def load(run: str | Path, need: Sequence[str]) -> Model:
    """Read the model of a run folder and check that it fits its own settings.

    Args:
      run: the folder, or a model file itself.
      need: the parts that must be there, for example ("segmenter", "flow").

    Raises:
      UserError: no such file, a part is missing, or names or shapes do not fit.
    """
    path = Path(run) / NAME if Path(run).is_dir() else Path(run)
    if not path.is_file():
        raise UserError(
            f"there is no {path}; expected the folder of a finished training run, or a "
            f"model file, with {' and '.join(need)}; train it first or give another one"
        )
    variables, metadata = weights.load_weights(path)
    settings = _settings(path, metadata, variables)
    missing = [name for name in need if name not in settings]
    if missing:
        raise UserError(
            f"{path} holds {', '.join(settings) or 'no networks'} but no "
            f"{' and no '.join(missing)}; expected {', '.join(need)}; give the run "
            "folder of a later stage"
        )
    for name in settings:
        try:
            template = build.shapes(settings, name)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} has settings of {name} that this version does not understand "
                f"({error}); expected a file that it wrote; train that stage again"
            ) from error
        weights.check_like(template, variables[name], f"{name} of {path}")
    return Model(settings, jax.tree.map(jnp.asarray, variables))


def _settings(path, metadata, variables) -> dict[str, dict[str, Any]]:
    try:
        found = {n: json.loads(metadata[n]) for n in ALL_PARTS if n in metadata}
        if all(isinstance(group, dict) for group in found.values()):
            if found.keys() == variables.keys():
                return found
    except ValueError:
        pass
    raise UserError(
        f"{path} holds {', '.join(variables) or 'nothing'} without settings that can "
        "be read; expected a model file that jaxseg wrote; train or convert it again"
    )
