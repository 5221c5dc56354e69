"""Time every network at its real size against the plain form of the same program.

And against torch, where it is installed (see `torch_peer.program`). All programs have
the same weights and input, must agree before they are timed, and are timed in turns, so
that what else the machine does falls on all.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build
from jaxseg.errors import UserError
from jaxseg.evaluation.torch_peer import program
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
    """One network, batch 1; seconds are medians over the repeats.

    Numbers of torch are NaN where it was not timed.
    """

    network: str
    part: str
    input: tuple[int, int]  # height, width
    parameters: int
    plain_seconds: float  # wall
    seconds: float  # wall
    torch_seconds: float  # wall
    ratio: float  # plain / ours, of wall time
    cpu_ratio: float  # the same of processor time, NaN off the CPU
    torch_ratio: float  # torch / ours, of wall time
    torch_cpu_ratio: float  # the same of processor time, NaN off the CPU
    compile_seconds: float
    difference: float  # of the forms: largest, relative to the largest value
    torch_missing: str  # why torch was not timed, empty if it was


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
    expected = plain(variables, *inputs)
    difference = _difference(ours(variables, *inputs), expected)
    if not difference <= TOLERANCE:
        raise UserError(
            f"the forms of {name}:{part} differ by {difference:.2g} of the largest "
            f"value; expected at most {TOLERANCE:.0e}; this is a fault of jaxseg"
        )
    programs = {
        "plain": lambda: jax.block_until_ready(plain(variables, *inputs)),
        "ours": lambda: jax.block_until_ready(ours(variables, *inputs)),
    }
    missing = ""
    try:
        apply = _apply(settings, part)
        programs["torch"] = _torch_program(apply, variables, inputs, expected)
    except program.Missing as error:
        missing = str(error)
    seconds = _run_in_turns(programs, repeats)
    own, peer = seconds["ours"], seconds.get("torch", _NO_SECONDS)
    return Timing(
        network=name,
        part=part,
        input=tuple(inputs[0].shape[1:3]),
        parameters=parameters.count_parameters(variables),
        plain_seconds=seconds["plain"].wall,
        seconds=own.wall,
        torch_seconds=peer.wall,
        ratio=seconds["plain"].wall / own.wall,
        cpu_ratio=seconds["plain"].processor / own.processor,
        torch_ratio=peer.wall / own.wall,
        torch_cpu_ratio=peer.processor / own.processor,
        compile_seconds=spent,
        difference=difference,
        torch_missing=missing,
    )


def _torch_program(apply, variables, inputs, expected) -> Callable:
    """Return the network in torch; `program.Missing` if it does not agree."""
    peer = program.Program(apply, variables, inputs)
    difference = _difference(peer.arrays(), jax.tree.leaves(expected))
    if not difference <= TOLERANCE:
        raise program.Missing(
            f"its result differs by {difference:.2g} of the largest value"
        )
    return peer


class _Seconds(NamedTuple):
    """Medians of a program."""

    wall: float
    processor: float  # NaN off the CPU


_NO_SECONDS = _Seconds(float("nan"), float("nan"))


def _run_in_turns(
    programs: Mapping[str, Callable], repeats: int
) -> dict[str, _Seconds]:
    """Return the medians of every program."""
    spent = {name: [] for name in programs}
    for _ in range(repeats):
        for name, run in programs.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            now = time.perf_counter() - wall, time.process_time() - processor
            spent[name].append(now)
    on_cpu = jax.default_backend() == "cpu"
    found = {}
    for name, samples in spent.items():
        wall, processor = np.median(samples, axis=0)
        found[name] = _Seconds(float(wall), float(processor if on_cpu else np.nan))
    return found


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
