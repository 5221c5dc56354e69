"""From a foreign checkpoint to a model file of ours."""

import glob
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxseg import build, model_file
from jaxseg.errors import UserError
from jaxseg.models import parameters
from jaxseg.pretrained import catalogue, rules
from jaxseg.pretrained.readers import entries
from jaxseg.pretrained.readers import open as opening
from jaxseg.runtime import weights

_BLOCK = 1 << 20


class Report(NamedTuple):
    """What a conversion came to."""

    model: str
    format: str  # of the checkpoint
    parameters: int  # trainable
    tensors: int  # used
    skipped: tuple[str, ...]  # names of tensors left out
    fresh: tuple[str, ...] = ()  # leaves that the checkpoint has nothing for


def convert(
    checkpoint: str | Path, out: str | Path, model: str, classes: int | None = None
) -> Report:
    """Convert a published checkpoint to a model file.

    Args:
      checkpoint: the file; of a TensorFlow checkpoint its prefix or its index.
      out: .safetensors file to write.
      model: a name of `catalogue.MODELS`.
      classes: of the checkpoint, where it is not the published one.

    Raises:
      UserError: an unknown model, an unreadable file, tensors that do not fit.
    """
    known = catalogue.find(model)
    if classes is not None and (classes < 1 or known.classes is None):
        raise UserError(
            f"--classes is {classes} for {model}; expected "
            f"{'none' if known.classes is None else '1 or more'}; change --classes"
        )
    settings = catalogue.settings_of(known, classes)
    found = opening.open_checkpoint(checkpoint)
    if Path(out).resolve() in [path.resolve() for path in _files(found.path)]:
        raise UserError(f"{out} is the input; expected another file; rename the output")
    converted = rules.convert(found, known.table, template(settings), known.fresh)
    metadata = {
        "format": "jaxseg",
        "model": model,
        "source": Path(checkpoint).name,
        "sha256": digest(found),
        "licence": known.licence,
    }
    variables = _completed(settings, converted)
    model_file.write(Path(out), model_file.Model(settings, variables), metadata)
    return Report(
        model,
        found.format,
        sum(parameters.count_parameters(variables[part]) for part in settings),
        len(found.entries) - len(converted.skipped),
        converted.skipped,
        converted.fresh,
    )


def _completed(settings: dict[str, Any], converted: rules.Converted) -> dict[str, Any]:
    """Return the variables with fresh ones where the checkpoint had none."""
    if not converted.fresh:
        return converted.variables

    @jax.jit  # which draws no others
    def fresh(rng):
        parts = {part: build.init_fn(settings, part)(rng) for part in settings}
        leaves = weights.flatten(parts)
        return {name: leaves[name] for name in converted.fresh}

    leaves = weights.flatten(converted.variables)
    return weights.nest(leaves | jax.device_get(fresh(jax.random.key(0))))


def template(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the shapes of every part of a model."""
    return {part: build.shapes(settings, part) for part in settings}


def digest(checkpoint: entries.Checkpoint) -> str:
    """Return the SHA-256 of a checkpoint's files, one after another, in hex."""
    total = hashlib.sha256()
    for path in _files(checkpoint.path):
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                total.update(block)
    return total.hexdigest()


def _files(path: Path) -> list[Path]:
    """Return the files of a checkpoint; TensorFlow V2 has an index and its shards."""
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    shards = sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*-of-*"))
    index = prefix.with_name(f"{prefix.name}.index")
    return [index, *shards] if index.is_file() and shards else [path]
