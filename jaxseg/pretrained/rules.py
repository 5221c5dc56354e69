"""Rename and transpose foreign tensors by rules, strictly in both directions.

A table is data: rules that say under which name of ours a tensor of theirs goes and how
its axes are to be ordered, and what may be left out. Every leaf of the network must be
filled exactly once, and every tensor of the file used or left out by name.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import entries
from jaxseg.runtime import weights


class Rule(NamedTuple):
    """Where the tensors go whose whole name matches `source`."""

    source: str  # regular expression
    target: str  # "collection/module/leaf", with \\1 ... of the match
    steps: tuple[str, ...] = ()  # names of `STEPS`, in order


class Skip(NamedTuple):
    """Tensors that have no place in the network, and why."""

    source: str  # regular expression
    why: str
    zero: bool = False  # only where every number is 0
    check: Callable[[np.ndarray], bool] | None = None  # only where this holds


class Table(NamedTuple):
    """All that is known of one published family of checkpoints."""

    rules: tuple[Rule, ...]
    skips: tuple[Skip, ...] = ()


class Converted(NamedTuple):
    """The leaves of a network, and the tensors that were left out by name."""

    variables: dict[str, Any]  # nested dicts of arrays
    skipped: tuple[str, ...]
    fresh: tuple[str, ...] = ()  # leaves that the file does not hold, and need not


# What NumPy raises where a tensor has not the shape that a step is for.
_SHAPELESS = (ValueError, TypeError, LookupError, ArithmeticError)

# What may happen to a tensor between their layout and ours.
STEPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    # Convolutions [O, I, kh, kw] of torch and Caffe; ours are [kh, kw, I, O]. Their
    # transposed ones, [I, O, kh, kw], become our [kh, kw, O, I] by the same order.
    "conv": lambda x: x.transpose(2, 3, 1, 0),
    # TensorFlow's depthwise [kh, kw, I, 1]; ours are [kh, kw, 1, I].
    "depthwise": lambda x: x.transpose(0, 1, 3, 2),
    # Dense layers [O, I] of torch and Caffe; ours are [I, O].
    "dense": lambda x: x.T,
    # A dense layer [O, 512 * 7 * 7] on a 7 x 7 map, as the convolution that it is.
    "dense_to_conv7": lambda x: x.reshape(len(x), -1, 7, 7).transpose(2, 3, 1, 0),
    # The same as a 1 x 1 convolution.
    "dense_to_conv1": lambda x: x.reshape(len(x), -1, 1, 1).transpose(2, 3, 1, 0),
    # Weights [kh, kw, 3 n, O] for BGR images, used on RGB.
    "bgr": lambda x: np.concatenate(
        [part[:, :, ::-1] for part in np.split(x, x.shape[2] // 3, axis=2)], axis=2
    ),
    # Caffe keeps vectors as [1, 1, 1, n] at times.
    "vector": lambda x: x.reshape(-1),
    # A BGR color, as RGB.
    "flip": lambda x: x[::-1],
    # Weights [kh, kw, 3, O] for RGB images that torchvision divided by 255 and by
    # ImageNet's standard deviation, used on undivided ones.
    "imagenet_std": lambda x: (
        x / (255 * np.array([0.229, 0.224, 0.225]))[:, None]
    ).astype(x.dtype),
}


def convert(
    checkpoint: entries.Checkpoint,
    table: Table,
    template: Mapping[str, Any],
    fresh: Iterable[str] = (),
) -> Converted:
    """Fill the leaves of a network from a checkpoint.

    Args:
      template: nested dicts of arrays or of `jax.ShapeDtypeStruct`, with the
        collections ("params", "batch_stats") on top.
      fresh: regular expressions of the leaves that may be without a tensor.

    Raises:
      UserError: lists leaves without a tensor, tensors without a place, and shapes that
        do not fit.
    """
    leaves = weights.flatten(template)
    filled: dict[str, np.ndarray] = {}
    sources: dict[str, str] = {}
    unused, skipped, wrong = [], [], []
    for name, entry in checkpoint.entries.items():
        rule, target = _target(table.rules, name)
        # A rule may name what this network was built without, for example logits.
        if rule is None or target not in leaves:
            skip = _skip(table.skips, name)
            if skip is None or not _may_skip(skip, entry):
                unused.append(f"{name} {list(entry.shape)}")
            else:
                skipped.append(name)
            continue
        if target in filled:
            wrong.append(f"{target} from both {sources[target]} and {name}")
            continue
        value, problem = _ordered(entry, rule, leaves[target])
        if problem:
            wrong.append(f"{target} from {name} {problem}")
            continue
        filled[target], sources[target] = value, name
    taken = {problem.split(" from ")[0] for problem in wrong}
    without = sorted(leaves.keys() - filled.keys() - taken)
    anew = [name for name in without if any(re.fullmatch(f, name) for f in fresh)]
    missing = [
        f"{name} {list(leaves[name].shape)}" for name in without if name not in anew
    ]
    _refuse(checkpoint, missing, unused, wrong)
    return Converted(weights.nest(filled), tuple(skipped), tuple(anew))


def _target(rules: Iterable[Rule], name: str) -> tuple[Rule | None, str]:
    for rule in rules:
        match = re.fullmatch(rule.source, name)
        if match:
            return rule, match.expand(rule.target)
    return None, ""


def _skip(skips: Iterable[Skip], name: str) -> Skip | None:
    return next((skip for skip in skips if re.fullmatch(skip.source, name)), None)


def _may_skip(skip: Skip, entry: entries.Entry) -> bool:
    if skip.zero and np.any(entry.read()):
        return False
    try:
        return skip.check is None or skip.check(entry.read())
    except _SHAPELESS:
        return False


def _ordered(entry, rule, leaf) -> tuple[np.ndarray | None, str]:
    """Return the tensor in our layout, or what is wrong with it."""
    value = entry.read()
    try:
        for step in rule.steps:
            value = STEPS[step](value)
    except _SHAPELESS:
        return None, f"{list(entry.shape)} cannot be laid out by {'+'.join(rule.steps)}"
    if value.shape != tuple(leaf.shape):
        return None, f"{list(value.shape)} expected {list(leaf.shape)}"
    if not np.issubdtype(value.dtype, np.floating) and value.dtype.name != "bfloat16":
        return None, f"{value.dtype.name} expected {np.dtype(leaf.dtype).name}"
    return np.ascontiguousarray(value, np.dtype(leaf.dtype)), ""


def _refuse(checkpoint, missing, unused, wrong) -> None:
    problems = [
        _listed("nothing for", missing),
        _listed("no place for", unused),
        _listed("misfit:", wrong),
    ]
    if any(problems):
        raise UserError(
            f"{entries.shown(checkpoint.path)} does not fit this network: "
            f"{'; '.join(filter(None, problems))}; expected the same tensors on both "
            "sides; give another --model or --classes, or the file it was made for"
        )


def _listed(title: str, names: list[str], limit: int = 5) -> str:
    if not names:
        return ""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{title} {entries.shown(', '.join(names[:limit]))}{more}"
