"""Values of a resolved config, refused by name where they cannot be used."""

import math
from collections.abc import Sequence
from typing import Any

from jaxseg.errors import UserError
from jaxseg.ops import precision as precisions


def at_least(config: dict[str, Any], name: str, least: int) -> None:
    """Raise UserError where a value is below `least`."""
    if config[name] < least:
        raise UserError(
            f"{name} is {config[name]}; expected {least} or more; change "
            f"--config.{name}"
        )


def one_of(config: dict[str, Any], name: str, allowed: Sequence[str]) -> None:
    """Raise UserError where a value is none of those that are allowed."""
    if config[name] not in allowed:
        raise UserError(
            f"{name} is {config[name]!r}; expected {' or '.join(allowed)}; change "
            f"--config.{name}"
        )


def precision(config: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return what identifies an evaluation at its precision, and the precision.

    A run folder may be continued where `runtime` differs, but figures of two precisions
    are not to be mixed: one other than float32 is named in the config's first level.

    Raises:
      UserError: there is no such precision.
    """
    found = precisions.resolve(config["runtime"]["precision"])
    return config if found == "float32" else config | {"precision": found}, found


def names(config: dict[str, Any], name: str, what: str) -> None:
    """Raise UserError where a value is not a list of one or more names of `what`."""
    found = config[name]
    if not found or not all(isinstance(item, str) and item for item in found):
        raise UserError(
            f"{name} is {found or 'empty'}; expected {what}; set --config.{name}"
        )


def numbers(
    config: dict[str, Any], name: str, low: float, high: float, whole: bool = False
) -> None:
    """Raise UserError where a value is not a list of numbers from `low` to `high`."""
    kinds = int if whole else (int, float)
    found = config[name]
    if not is_numbers(found, kinds) or min(found) < low or max(found) > high:
        raise UserError(
            f"{name} is {found or 'empty'}; expected one or more "
            f"{'whole ' if whole else ''}numbers from {low} to {high}; change "
            f"--config.{name}"
        )


def is_numbers(value: Any, kinds: Any = (int, float)) -> bool:
    """Say whether a value is a list of one or more finite numbers."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(v, kinds) and not isinstance(v, bool) for v in value)
        and all(map(math.isfinite, value))
    )
