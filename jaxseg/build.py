"""Settings -> networks, and the functions that run them. Nothing below knows them.

Settings say what a model is. How it is computed is a `precision` beside them, one of
`ops.precision.CHOICES`: "float32", the default of all functions here, "bfloat16", or
"auto", which is bfloat16 on a GPU. Variables are float32 in all of them.
"""

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg import dynamic
from jaxseg.errors import UserError
from jaxseg.models import (
    decision,
    deeplab_fast,
    deeplab_v2,
    deeplab_v3plus,
    fcn,
    flownet,
    policy,
    segmenter,
    vgg,
)
from jaxseg.ops import forms, iou, resize, stored
from jaxseg.ops import precision as precisions
from jaxseg.types import Array, PRNGKey, Variables

SEGMENTERS = {
    "deeplab_v3plus": deeplab_v3plus.DeepLabV3Plus,
    "deeplab_v2": deeplab_v2.DeepLabV2,
    "deeplab_fast": deeplab_fast.DeepLabFast,
    "fcn": fcn.FCN,
    "vgg16": vgg.Classifier,
}


def cached(*parts: str):
    """Make a function of settings return the same object for the same values.

    What it returns is then a constant under jit, so that programs are compiled once.
    Other arguments count by their values too: what was made for one precision is not
    returned for another.

    Args:
      parts: of the settings that the function reads.
    """

    def decorate(fn):
        signature = inspect.signature(fn)

        @functools.lru_cache(maxsize=16)
        def made(text, *rest):
            return fn(json.loads(text), *rest)

        @functools.wraps(fn)
        def call(settings, *rest, **named):
            keep = {name: settings[name] for name in parts}
            given = signature.bind(keep, *rest, **named)
            given.apply_defaults()
            _, *rest = given.arguments.values()
            return made(json.dumps(keep, sort_keys=True), *rest)

        return call

    return decorate


class Scoring(NamedTuple):
    """How a prediction is scored (static)."""

    pseudo_labels: bool = False  # Eq. 2: pixel accuracy against the key's prediction
    classes: str = "present"  # that the mean IoU counts, see `iou.mean_iou`


DEFAULT_SCORING = Scoring()


def init(settings: Mapping[str, Any], part: str, seed: int) -> Variables:
    """Return fresh variables of one network."""
    # One program for all of the leaves, and not optimized, as it runs once.
    options = {"xla_backend_optimization_level": 0}
    start = jax.jit(init_fn(settings, part), compiler_options=options)
    return start(jax.random.key(seed))


def shapes(settings: Mapping[str, Any], part: str) -> Variables:
    """Return the shapes and types of the variables of one network."""
    rng = jax.eval_shape(jax.random.key, 0)
    return jax.eval_shape(init_fn(settings, part), rng)


def init_fn(settings: Mapping[str, Any], part: str) -> Callable[[PRNGKey], Variables]:
    """Return the function that draws the variables of one network."""
    return functools.partial(_init, settings, part)


def _init(settings: Mapping[str, Any], part: str, rng: PRNGKey) -> Variables:
    if part == "segmenter":
        size = _size(settings["segmenter"]["input_size"])
        return segmenter_net(settings).init(rng, jnp.zeros((1, *size, 3)))
    size = _size(settings["flow"]["input_size"])
    frame = jnp.zeros((1, *size, 3))
    if part == "flow":
        return flow_net(settings).init(rng, frame, frame)
    deviation = jnp.zeros((1, *deviation_shape(settings)))
    if part == "decision":
        return decision_net(settings).init(rng, deviation)
    return policy_net(settings).init(rng, deviation, jnp.zeros(1), jnp.zeros(1))


def deviation_shape(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape (h6, w6, c6) of what F says of a pair."""
    frame = jnp.zeros((1, *_size(settings["flow"]["input_size"]), 3))
    found = jax.eval_shape(
        lambda: flow_net(settings).init_with_output(jax.random.key(0), frame, frame)
    )
    return found[0].deviation.shape[1:]


def segmenter_net(
    settings: Mapping[str, Any], precision: str = "float32"
) -> segmenter.Segmenter:
    """Return the module of N; its fields are those of the group, but for its size.

    Raises:
      UserError: an unknown architecture.
      TypeError: fields that the architecture does not have.
    """
    fields = _fields(settings["segmenter"], "input_size")
    name = fields.pop("architecture")
    if name not in SEGMENTERS:
        raise UserError(
            f"segmenter.architecture is {name!r}; expected {' or '.join(SEGMENTERS)}; "
            "change --config.segmenter.architecture"
        )
    return SEGMENTERS[name](**fields, dtype=precisions.dtype(precision))


def flow_net(
    settings: Mapping[str, Any], precision: str = "float32"
) -> flownet.FlowNetS:
    """Return the module of F."""
    fields = _fields(settings["flow"], "input_size", "border")
    return flownet.FlowNetS(**fields, dtype=precisions.dtype(precision))


def head_modules(settings: Mapping[str, Any], part: str) -> tuple[str, ...]:
    """Return the names of the modules that depend on the number of classes."""
    return NETWORKS[part](settings).HEAD


def _fields(group: Mapping[str, Any], *others: str) -> dict[str, Any]:
    """Return what of a group are fields of a module: hashable, without `others`."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in group.items()
        if name not in others
    }


def policy_net(
    settings: Mapping[str, Any], precision: str = "float32"
) -> policy.PolicyNet:
    """Return the module of the policy."""
    p = settings["policy"]
    return policy.PolicyNet(
        conv_channels=p["conv_channels"],
        hidden=tuple(p["hidden"]),
        key_bias=p["key_bias"],
        action_scale=p["action_scale"],
        dtype=precisions.dtype(precision),
    )


def decision_net(
    settings: Mapping[str, Any], precision: str = "float32"
) -> decision.DecisionNet:
    """Return the module of DVSNet's decision network."""
    fields = _fields(settings["decision"])
    return decision.DecisionNet(**fields, dtype=precisions.dtype(precision))


NETWORKS = {
    "segmenter": segmenter_net,
    "flow": flow_net,
    "policy": policy_net,
    "decision": decision_net,
}


def flow_frame_fn(settings: Mapping[str, Any]) -> Callable[[Array], Array]:
    """Return how a frame [H, W, 3] becomes one of the size that F takes.

    The mean over pixels where it becomes smaller; where features are propagated on the
    grid of the flow, as in DVSNet, what the rule of N samples.
    """
    size, net = input_size(settings, "flow"), segmenter_net(settings)
    if net.PROPAGATES_ON == "features":
        return functools.partial(resize.shrink, size=size)
    return lambda image: resize.resize_bilinear(
        image.astype(jnp.float32), size, net.RULE
    )


@cached("segmenter")
def feature_fn(settings: Mapping[str, Any], precision: str = "float32"):
    """Return N_feat: variables, image [H, W, 3] -> features [h, w, C]."""
    net = segmenter_net(settings, precision)

    def features(variables, image):
        return net.apply(variables["segmenter"], image[None], method=net.features)[0]

    return features


@cached("segmenter")
def task_fn(settings: Mapping[str, Any]):
    """Return N_task: variables, features -> class map uint8 of N's input size."""
    net, size = segmenter_net(settings), input_size(settings)
    return lambda variables, features: net.labels(features, size)


@cached("segmenter", "flow")
def framework(
    settings: Mapping[str, Any], precision: str = "float32"
) -> dynamic.Framework:
    """Return deep feature flow (section 3.1) with these networks.

    N_feat gives what the segmenter propagates, a posterior or logits, at its own grid;
    F runs at its own input size; the features are warped at their grid or at that of
    the flow, as the class of the segmenter says (see `segmenter.Segmenter`); N_task
    upsamples to the segmenter's input size and takes the argmax. Variables are those
    of a `Model`. In bfloat16 only deviations are of that type, of all results.
    """
    border = settings["flow"]["border"]
    net, flow = segmenter_net(settings, precision), flow_net(settings, precision)
    flow_frame = flow_frame_fn(settings)
    propagate = functools.partial(flownet.propagate, border=border)
    if net.PROPAGATES_ON == "flow":
        propagate = functools.partial(
            flownet.propagate_on_flow_grid, rule=net.RULE, border=border
        )

    # Half of F's encoder on a CPU is its first convolution, so there a view is its
    # answer. Elsewhere that would cost more memory traffic than it saves.
    embed = forms.for_cpu() and flow.prepares_alone

    def view_fn(variables, image):
        frame = flow_frame(image)
        if not embed:
            return frame
        return flow.apply(variables["flow"], frame[None], method=flow.embed)[0]

    def motion_fn(variables, view, key_view):
        method = flow.compare if embed else None
        motion = flow.apply(
            variables["flow"], view[None], key_view[None], method=method
        )
        return jax.tree.map(lambda x: x[0], motion)

    return dynamic.Framework(
        feature_fn=feature_fn(settings, precision),
        task_fn=task_fn(settings),
        view_fn=view_fn,
        motion_fn=motion_fn,
        deviation_fn=lambda motion: motion.deviation,
        propagate_fn=propagate,
    )


@cached("segmenter")
def score_fn(settings: Mapping[str, Any], scoring: Scoring = DEFAULT_SCORING):
    """Return the score of a prediction: mean IoU (Eq. 1) or pixel accuracy (Eq. 2)."""
    if scoring.pseudo_labels:
        return iou.pixel_accuracy
    num_classes = settings["segmenter"]["num_classes"]

    def score(prediction, target):
        matrix = iou.confusion(prediction, target, num_classes)
        return iou.mean_iou(matrix, scoring.classes)

    return score


def prepare_fn(
    settings: Mapping[str, Any],
    scoring: Scoring = DEFAULT_SCORING,
    precision: str = "float32",
):
    """Return `dynamic.prepare` with these networks: variables, clip -> episode.

    Features that a clip brings along may be in any format of `ops.stored`; N's
    variables are not read then.
    """
    prepare = functools.partial(
        dynamic.prepare,
        framework(settings, precision),
        score_fn=score_fn(settings, scoring),
        pseudo_labels=scoring.pseudo_labels,
    )

    def prepared(variables, clip: dynamic.Clip) -> dynamic.Episode:
        features = jax.tree.map(stored.decode, clip.features)
        return prepare(variables, clip._replace(features=features))

    return prepared


@cached("segmenter", "flow")
def pair_fn(
    settings: Mapping[str, Any],
    scoring: Scoring = DEFAULT_SCORING,
    precision: str = "float32",
):
    """Return the pair function that runs the networks of these settings."""
    return dynamic.networks_pair(
        framework(settings, precision), score_fn(settings, scoring)
    )


@cached("policy")
def policy_fn(settings: Mapping[str, Any], precision: str = "float32"):
    """Return the policy as a function: variables, observation -> logits [2]."""
    net = policy_net(settings, precision)

    def trunk(variables, deviation):
        return net.apply(variables, deviation[None], method=net.trunk)[0]

    def head(variables, observation: dynamic.Observation):
        ratio, distance = observation.expert[0], observation.expert[1]
        seen = observation.deviation[None]
        return net.apply(variables, seen, ratio[None], distance[None], method=net.head)[
            0
        ]

    return dynamic.Policy(trunk, head)


def rules(settings: Mapping[str, Any]) -> dynamic.Rules:
    """Return the readings of the paper that a policy was trained under."""
    p = settings["policy"]
    return dynamic.Rules(
        window=p["window"],
        key_ratio=p["key_ratio"],
        key_distance=p["key_distance"],
        count_first_frame=p["count_first_frame"],
        pay_break=p["pay_break"],
    )


def action_cap(settings: Mapping[str, Any]) -> float:
    """Return the cap of the sampling policy (epsilon), by budget where so chosen."""
    p = settings["policy"]
    return 1.0 - p["eta"] / 10 if p["cap_by_budget"] else p["action_cap"]


def input_size(settings: Mapping[str, Any], part: str = "segmenter") -> tuple[int, int]:
    """Return the input size (height, width) of a network."""
    return _size(settings[part]["input_size"])


def _size(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
