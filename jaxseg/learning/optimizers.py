"""Named optimizer options -> optax transformations."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import optax

from jaxseg.errors import UserError
from jaxseg.runtime import weights


class OptimizerOptions(NamedTuple):
    """What a config says of an optimizer."""

    name: str = "rmsprop"  # "rmsprop" | "adam" | "sgd"
    learning_rate: float = 1e-3
    schedule: str = "constant"  # "constant" | "poly" | "cosine"
    steps: int = 0  # length of the schedule
    slow_start_steps: int = 0  # first steps at another rate; the schedule follows
    slow_start_rate: float = 1e-4
    momentum: float = 0.9  # of sgd
    weight_decay: float = 0.0  # on kernels only, and not on depthwise ones
    bias_multiplier: float = 1.0  # of the gradients of biases, not of batch norms
    head_multiplier: float = 1.0  # of the gradients of the modules in `head`
    head: tuple[str, ...] = ()
    clip_norm: float = 0.0  # 0 = no clipping
    decay: float = 0.9  # of rmsprop's accumulator
    epsilon: float = 1e-10  # inside rmsprop's root
    initial_scale: float = 1.0  # first accumulator of rmsprop


def optimizer(options: OptimizerOptions) -> optax.GradientTransformation:
    """Build the optimizer.

    RMSProp's defaults are TensorFlow 1's, which the paper used: decay 0.9, epsilon
    1e-10 inside the root, accumulator starting at 1 (at 0 the first steps are larger).
    "poly" is DeepLab's schedule, base * (1 - step / steps)^0.9, counted from the end of
    a slow start if there is one. Multipliers act on gradient and weight decay together
    (tensorflow/models, research/deeplab/utils/train_utils.py).
    """
    rate = _schedule(options)
    named = {
        "rmsprop": lambda: optax.rmsprop(
            rate,
            decay=options.decay,
            eps=options.epsilon,
            initial_scale=options.initial_scale,
        ),
        "adam": lambda: optax.adam(rate),
        "sgd": lambda: optax.sgd(rate, momentum=options.momentum),
    }
    if options.name not in named:
        raise UserError(
            f"optimizer is {options.name!r}; expected one of {', '.join(named)}; "
            "correct the config field"
        )
    parts = []
    if options.clip_norm > 0:
        parts.append(optax.clip_by_global_norm(options.clip_norm))
    if options.weight_decay > 0:
        parts.append(optax.add_decayed_weights(options.weight_decay, mask=_kernels))
    if (options.bias_multiplier, options.head_multiplier) != (1.0, 1.0):
        parts.append(_multipliers(options))
    return optax.chain(*parts, named[options.name]())


def of_group(
    group: Mapping[str, Any], head: tuple[str, ...] = ()
) -> optax.GradientTransformation:
    """Build the optimizer that the train group of a config describes.

    Args:
      head: the modules that `head_multiplier` is for.
    """
    fields = set(OptimizerOptions._fields) - {"name", "head"}
    options = {name: group[name] for name in fields}
    return optimizer(OptimizerOptions(name=group["optimizer"], head=head, **options))


def _schedule(options: OptimizerOptions) -> optax.ScalarOrSchedule:
    rate = options.learning_rate
    steps = max(options.steps - options.slow_start_steps, 1)
    named = {
        "constant": lambda: rate,
        "poly": lambda: optax.polynomial_schedule(rate, 0.0, 0.9, steps),
        "cosine": lambda: optax.cosine_decay_schedule(rate, steps, alpha=0.02),
    }
    if options.schedule not in named:
        raise UserError(
            f"schedule is {options.schedule!r}; expected one of {', '.join(named)}; "
            "correct the config field"
        )
    schedule = named[options.schedule]()
    if not options.slow_start_steps:
        return schedule
    return optax.join_schedules(
        [
            optax.constant_schedule(options.slow_start_rate),
            schedule if callable(schedule) else optax.constant_schedule(schedule),
        ],
        [options.slow_start_steps],
    )


def _multipliers(options: OptimizerOptions) -> optax.GradientTransformation:
    def multiplied(updates, _):
        leaves = weights.flatten(updates)
        for name, gradient in leaves.items():
            *modules, leaf = name.split("/")
            # The offset of a batch norm has a scale beside it, and is no bias.
            norm = "/".join([*modules, "scale"]) in leaves
            factor = options.bias_multiplier if leaf == "bias" and not norm else 1.0
            if any(module in options.head for module in modules):
                factor *= options.head_multiplier
            leaves[name] = factor * gradient
        return weights.nest(leaves)

    return optax.stateless(multiplied)


def _kernels(params):
    """Return what decays: kernels, but not depthwise ones [kh, kw, 1, C].

    Source: tensorflow/models, research/deeplab/core/feature_extractor.py
    (regularize_depthwise off).
    """
    depthwise = lambda leaf: leaf.ndim == 4 and leaf.shape[2] == 1
    return jax.tree.map(lambda leaf: leaf.ndim > 1 and not depthwise(leaf), params)
