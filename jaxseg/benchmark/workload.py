"""Networks with fresh weights and an input of their real size, to be timed."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build
from jaxseg.errors import UserError
from jaxseg.pretrained import catalogue
from jaxseg.types import Variables

# (name, part): one of every kind of network. Names are those of the catalogue, or
# "paper" for what no published file has.
NETWORKS = (
    ("deeplab-resnet50", "segmenter"),
    ("deeplab-resnet50-beta", "segmenter"),
    ("deeplab-xception65", "segmenter"),
    ("deeplab-mobilenetv2-decoder", "segmenter"),
    ("deeplab-mobilenetv2", "segmenter"),
    ("deeplab-v2-vgg16", "segmenter"),
    ("deeplab-largefov-vgg16", "segmenter"),
    ("fcn8s", "segmenter"),
    ("dvsnet", "segmenter"),
    ("dvsnet", "flow"),
    ("dvsnet", "decision"),
    ("flownet2-S", "flow"),
    ("flownet2-s-tf", "flow"),
    ("paper", "policy"),
)
PAPER_POLICY = {
    "conv_channels": 96,
    "hidden": (1024, 1024, 128),
    "key_bias": 0.0,
    "action_scale": 1.0,
}
_PAPER = {
    # Its deviation is what the policy reads, 9 x 9 x 384.
    "flow": {"base_channels": 24, "border": "clamp", "input_size": 513},
    "policy": PAPER_POLICY,
}


@dataclasses.dataclass(frozen=True)
class Workload:
    """One part of a model."""

    name: str
    part: str
    settings: dict[str, dict[str, Any]]

    def __str__(self) -> str:
        return f"{self.name}:{self.part}"

    @property
    def apply(self) -> Callable:
        """Return the network as a function of its variables and inputs."""
        return build.NETWORKS[self.part](self.settings).apply

    def variables(self) -> Variables:
        """Return fresh variables."""
        return build.init(self.settings, self.part, 0)

    def inputs(self) -> tuple[Any, ...]:
        """Return one example: a frame or two, or what a scheduler reads of them."""
        rng = np.random.default_rng(0)
        if self.part in ("decision", "policy"):
            deviation = rng.normal(size=self._deviation_shape())
            history = () if self.part == "decision" else rng.uniform(size=(2, 1))
            return tuple(jnp.asarray(x, jnp.float32) for x in (deviation, *history))
        size = build.input_size(self.settings, self.part)
        frames = rng.integers(0, 256, (2, 1, *size, 3), np.uint8)
        return tuple(jnp.asarray(x) for x in frames[: 2 if self.part == "flow" else 1])

    def _deviation_shape(self) -> tuple[int, ...]:
        flow = dataclasses.replace(self, part="flow")
        shapes = build.shapes(self.settings, "flow")
        return jax.eval_shape(flow.apply, shapes, *flow.inputs()).deviation.shape


def find(names: Sequence[tuple[str, str]], size: int = 0) -> list[Workload]:
    """Return what is called so.

    Args:
      names: pairs of a model and a part, as in `NETWORKS`.
      size: height and width of the input in place of the network's own; 0 keeps it.

    Raises:
      UserError: an unknown model, a part that it does not have, or a size at which the
        network cannot be.
    """
    found = [Workload(*name, _settings(*name)) for name in names]
    if size:
        for workload in found:
            for group in workload.settings.values():
                group |= {"input_size": size} if "input_size" in group else {}
            build.shapes(workload.settings, workload.part)
    return found


def _settings(name, part):
    known = {*catalogue.MODELS, "paper"}
    if name not in known:
        raise UserError(
            f"there is no model {name!r}; expected one of {', '.join(sorted(known))}; "
            "change --networks"
        )
    if name == "paper":
        settings = copy.deepcopy(_PAPER)
    else:
        settings = catalogue.settings_of(catalogue.MODELS[name], None)
    if part not in settings:
        raise UserError(
            f"{name} has no part {part!r}; expected NAME:PART with "
            f"{' or '.join(settings)}; change --networks"
        )
    return settings
