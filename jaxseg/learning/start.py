"""What a training starts from: nothing, or the weights of a model file."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxseg import build, model_file
from jaxseg.errors import UserError
from jaxseg.evaluation import tables
from jaxseg.runtime import weights
from jaxseg.types import Variables


class Start(NamedTuple):
    """Where a training begins, checked; nothing is drawn yet."""

    draw: Callable[[], Variables]
    inputs: dict[str, str]  # digest of the weights it reads, for the run


def prepare(
    settings: dict[str, Any],
    part: str,
    seed: int,
    init_from: str = "",
    new_head: bool = False,
) -> Start:
    """Check what a network starts from.

    Args:
      part: "segmenter" or "flow".
      init_from: a model file or the folder of a run; empty for fresh weights.
      new_head: the classifier starts fresh, for other classes than the file's.

    Raises:
      UserError: the group is none of a network, or the file does not fit it.
    """
    try:
        shapes = build.shapes(settings, part)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"the {part} of this config cannot be built ({error}); expected the fields "
            f"of its kind with values that it knows; change --config.{part}"
        ) from error
    fresh = functools.partial(build.init, settings, part, seed)
    if not init_from:
        return Start(fresh, {})
    model = model_file.load(init_from, [part])
    _check_meaning(settings, model.settings, part, init_from)
    head = build.head_modules(settings, part)
    in_head = lambda name: any(module in head for module in name.split("/"))
    ours, theirs = weights.flatten(shapes), weights.flatten(model.variables[part])
    if new_head:
        theirs = {name: x for name, x in theirs.items() if not in_head(name)}
        anew = [name for name in ours if in_head(name)]
    elif _fits_but_for(in_head, ours, theirs):
        raise UserError(
            f"the {part} of {init_from} has another classifier than this config asks "
            "for; expected as many classes; change num_classes, or start it anew with "
            "--config.new_head=True"
        )
    else:
        anew = []
    whole = weights.nest(theirs | {name: ours[name] for name in anew})
    weights.check_like(shapes, whole, f"of {part} in {init_from}")

    def draw():
        drawn = weights.flatten(fresh()) if anew else {}
        found = theirs | {name: drawn[name] for name in anew}
        return jax.device_get(weights.nest(found))

    return Start(draw, {"init_from": tables.digest(model, parts=[part])})


# Fields that leave the meaning of trained numbers alone, or are trained further with.
_FREE = {
    *("num_classes", "dropout", "bn_momentum", "output_stride"),
    *("aspp_rates", "multi_grid", "parent", "name"),
}


def _check_meaning(ours, theirs, part, init_from) -> None:
    """Refuse a file of another network that has the same shapes."""
    nets = [build.NETWORKS[part](settings) for settings in (ours, theirs)]
    fields = {name for net in nets for name in net.__dataclass_fields__} - _FREE
    values = [{name: getattr(net, name, None) for name in fields} for net in nets]
    differ = sorted(name for name in fields if values[0][name] != values[1][name])
    if differ or type(nets[0]) is not type(nets[1]):
        found = ", ".join(f"{name} {values[1][name]!r}" for name in differ)
        wanted = ", ".join(f"{values[0][name]!r}" for name in differ)
        raise UserError(
            f"the {part} of {init_from} is a {type(nets[1]).__name__} with "
            f"{found or 'the same fields'}; this config has a "
            f"{type(nets[0]).__name__} with {wanted or 'the same'}; change "
            f"--config.{part}.{differ[0] if differ else 'architecture'}"
        )


def _fits_but_for(in_head, ours, theirs) -> bool:
    """Say whether names or shapes differ in the head and nowhere else."""
    shapes = [{name: x.shape for name, x in side.items()} for side in (ours, theirs)]
    differ = {name for name, _ in shapes[0].items() ^ shapes[1].items()}
    return bool(differ) and all(map(in_head, differ))
