"""Weights on disk: safetensors files, one tensor per array, names joined with "/"."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from jaxseg.errors import UserError
from jaxseg.runtime import files


def save_weights(
    path: str | os.PathLike,
    variables: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write nested dicts of arrays, and a few strings about them, to one file.

    Raises UserError naming the file where it cannot be written; an old one stays.
    """
    # The writer takes the bytes as they lie, so they must lie in C order.
    tensors = {name: np.array(x, order="C") for name, x in flatten(variables).items()}
    data = safetensors.numpy.save(tensors, metadata=dict(metadata or {}))
    with files.writing(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path, data)


def load_weights(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a file of `save_weights`: nested dicts of NumPy arrays, and the strings.

    Raises:
      UserError: the file is missing, cut short, or not in this format.
    """
    if not Path(path).is_file():
        raise UserError(
            f"there is no weights file {path}; expected a .safetensors file; "
            "train it first or give another path"
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return nest(tensors), dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise UserError(
            f"{path} is not a whole safetensors file ({_one_line(error)}); expected "
            "one that jaxseg wrote; copy or convert it again"
        ) from error


def check_like(
    template: Mapping[str, Any], loaded: Mapping[str, Any], source=""
) -> None:
    """Check that loaded weights have the names, shapes and types of a template.

    Args:
      template: nested dicts of arrays or of `jax.ShapeDtypeStruct`.
      loaded: nested dicts of arrays.
      source: where they came from, for the message.

    Raises:
      UserError: lists what only one side has and what differs.
    """
    want, have = _describe(template), _describe(loaded)
    problems = [
        _list("missing", sorted(f"{n} {want[n]}" for n in want.keys() - have.keys())),
        _list(
            "unexpected", sorted(f"{n} {have[n]}" for n in have.keys() - want.keys())
        ),
        _list(
            "different",
            sorted(
                f"{n} found {have[n]} expected {want[n]}"
                for n in want.keys() & have.keys()
                if want[n] != have[n]
            ),
        ),
    ]
    if any(problems):
        raise UserError(
            f"the weights {source or 'given'} do not fit this network: "
            f"{'; '.join(filter(None, problems))}; use the weights of this "
            "configuration or the configuration of these weights"
        )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested dicts by their paths, joined with "/"."""
    flat = {}
    for name, value in tree.items():
        if "/" in name:
            raise ValueError(f"the name {name!r} contains the separator '/'")
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}/")
        else:
            flat[prefix + name] = value
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested dicts from paths joined with "/"."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def _describe(tree: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: f"{np.dtype(x.dtype).name}{list(x.shape)}"
        for name, x in flatten(tree).items()
    }


def _list(title: str, items: list[str], limit: int = 4) -> str:
    if not items:
        return ""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return f"{title} {', '.join(items[:limit])}{more}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
