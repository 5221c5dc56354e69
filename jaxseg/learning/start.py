"""What a training starts from: nothing, or the weights of a model file."""

from typing import Any

import jax

from jaxseg import build, model_file
from jaxseg.errors import UserError
from jaxseg.runtime import weights
from jaxseg.types import Variables


def initial(
    settings: dict[str, Any],
    part: str,
    seed: int,
    init_from: str = "",
    new_head: bool = False,
) -> Variables:
    """Return the variables of a network before its first update.

    Args:
      part: "segmenter" or "flow".
      init_from: a model file or the folder of a run; empty for fresh weights.
      new_head: the classifier starts fresh, for other classes than the file's.

    Raises:
      UserError: the file does not fit the network.
    """
    fresh = build.init(settings, part, seed)
    if not init_from:
        return fresh
    loaded = model_file.load(init_from, [part]).variables[part]
    head = build.head_modules(settings, part)
    ours, theirs = weights.flatten(fresh), weights.flatten(loaded)
    in_head = lambda name: any(module in head for module in name.split("/"))
    if new_head:
        theirs = {name: x for name, x in theirs.items() if not in_head(name)}
        theirs |= {name: x for name, x in ours.items() if in_head(name)}
    elif _fits_but_for(in_head, ours, theirs):
        raise UserError(
            f"the {part} of {init_from} has another classifier than this config asks "
            "for; expected as many classes; change num_classes, or start it anew with "
            "--config.new_head=True"
        )
    loaded = weights.nest(theirs)
    weights.check_like(fresh, loaded, f"of {part} in {init_from}")
    return jax.device_get(loaded)


def _fits_but_for(in_head, ours, theirs) -> bool:
    """Say whether names or shapes differ in the head and nowhere else."""
    shapes = [{name: x.shape for name, x in side.items()} for side in (ours, theirs)]
    differ = {name for name, _ in shapes[0].items() ^ shapes[1].items()}
    return bool(differ) and all(map(in_head, differ))
