"""Time every network at its real size against the plain form of the same program.

Both programs have the same weights and input, must agree before they are timed, and are
timed in turns, so that what else the machine does falls on both.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build
from jaxseg.errors import UserError
from jaxseg.models import parameters
from jaxseg.ops import forms
from jaxseg.pretrained import catalogue

TOLERANCE = 1e-4  # of the largest value
# (name in the catalogue, part): one of every kind of network.
NETWORKS = (
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
)


class Timing(NamedTuple):
    """One network, batch 1; seconds are medians over the repeats."""

    network: str
    part: str
    input: tuple[int, int]  # height, width
    parameters: int
    plain_seconds: float  # wall
    seconds: float  # wall
    ratio: float  # plain / ours, of wall time
    cpu_ratio: float  # the same of processor time, NaN off the CPU
    compile_seconds: float
    difference: float  # largest, relative to the largest value


def inference(
    names: Sequence[tuple[str, str]], *, size: int = 0, repeats: int = 5
) -> Iterator[Timing]:
    """Time networks one after another.

    Args:
      names: pairs of a name in the catalogue and a part, as in `NETWORKS`.
      size: height and width of the input in place of the network's own; 0 keeps it.
      repeats: samples of each program.

    Raises:
      UserError: an unknown network, or forms that do not agree.
    """
    for name, part in names:
        if part not in catalogue.find(name).settings:
            raise UserError(
                f"{name} has no part {part!r}; expected NAME:PART as in "
                f"{':'.join(NETWORKS[0])}; change --networks"
            )
        yield _time(name, part, size, repeats)


def _time(name, part, size, repeats) -> Timing:
    settings = catalogue.settings_of(catalogue.find(name), None)
    if size:
        for group in settings.values():
            group |= {"input_size": size} if "input_size" in group else {}
    variables = build.init(settings, part, 0)
    inputs = _inputs(settings, part)
    begun = time.perf_counter()
    ours = _compiled(settings, part, variables, inputs)
    spent = time.perf_counter() - begun
    with forms.plain():
        plain = _compiled(settings, part, variables, inputs)
    difference = _difference(ours(variables, *inputs), plain(variables, *inputs))
    if not difference <= TOLERANCE:
        raise UserError(
            f"the forms of {name}:{part} differ by {difference:.2g} of the largest "
            f"value; expected at most {TOLERANCE:.0e}; this is a fault of jaxseg"
        )
    wall, processor = np.zeros((2, 2, repeats))
    for index in range(repeats):
        for which, program in enumerate((plain, ours)):
            started = time.perf_counter(), time.process_time()
            jax.block_until_ready(program(variables, *inputs))
            wall[which, index] = time.perf_counter() - started[0]
            processor[which, index] = time.process_time() - started[1]
    wall, processor = np.median(wall, 1), np.median(processor, 1)
    on_cpu = jax.default_backend() == "cpu"
    return Timing(
        name,
        part,
        tuple(inputs[0].shape[1:3]),
        parameters.count_parameters(variables),
        *(float(x) for x in wall),
        float(wall[0] / wall[1]),
        float(processor[0] / processor[1]) if on_cpu else float("nan"),
        spent,
        difference,
    )


def _inputs(settings, part) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    if part == "decision":
        seen = jax.eval_shape(
            _apply(settings, "flow"),
            build.shapes(settings, "flow"),
            *_inputs(settings, "flow"),
        )
        return (jnp.asarray(rng.normal(size=seen.deviation.shape), jnp.float32),)
    size = build.input_size(settings, part)
    frames = rng.integers(0, 256, (2, 1, *size, 3), np.uint8)
    return tuple(jnp.asarray(x) for x in frames[: 2 if part == "flow" else 1])


def _apply(settings, part) -> Callable:
    net = {
        "segmenter": build.segmenter_net,
        "flow": build.flow_net,
        "decision": build.decision_net,
    }[part](settings)
    return net.apply


def _compiled(settings, part, variables, inputs) -> Callable:
    apply = _apply(settings, part)
    # A function of its own, so that no trace of another form is found.
    return jax.jit(lambda *x: apply(*x)).lower(variables, *inputs).compile()


def _difference(found, expected) -> float:
    worst = 0.0
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        largest = float(jnp.abs(b).max())
        worst = max(worst, float(jnp.abs(a - b).max()) / (largest or 1.0))
    return worst
