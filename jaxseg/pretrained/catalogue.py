"""The published checkpoints that `jaxseg convert` knows, by name."""

import copy
from typing import Any, NamedTuple

from jaxseg.errors import UserError
from jaxseg.pretrained import deeplab, rules


class Known(NamedTuple):
    """One network as somebody published it."""

    settings: dict[str, dict[str, Any]]  # part -> settings, but for the classes
    table: rules.Table  # targets begin with the part
    classes: int | None  # of the published file; None where it has none
    parameters: int  # trainable, with that many classes
    source: str  # where the files come from
    licence: str  # of the files


_APACHE = "Apache-2.0 (tensorflow/models)"


def _deeplab(backbone: str, **fields) -> dict[str, dict[str, Any]]:
    settings = {
        "architecture": "deeplab_v3plus",
        "backbone": backbone,
        "output_stride": 16,
        "decoder": True,
        "aspp_rates": (6, 12, 18),
        "input_size": 513,
    }
    return {"segmenter": settings | fields}


MODELS = {
    "deeplab-mobilenetv2": Known(
        _deeplab("mobilenet_v2", decoder=False, aspp_rates=()),
        deeplab.TABLE,
        21,
        2_113_557,
        "DeepLab model zoo, deeplabv3_mnv2_pascal_train_aug_2018_01_29",
        _APACHE,
    ),
    "deeplab-mobilenetv2-decoder": Known(
        _deeplab("mobilenet_v2"),
        deeplab.TABLE,
        21,
        2_725_573,
        "a training of research/deeplab with decoder_output_stride 4",
        _APACHE,
    ),
}


def find(name: str) -> Known:
    """Return a known model; UserError lists them where there is none of that name."""
    if name not in MODELS:
        raise UserError(
            f"there is no model {name!r}; expected one of {', '.join(MODELS)}; "
            "change --model"
        )
    return MODELS[name]


def settings_of(known: Known, classes: int | None) -> dict[str, dict[str, Any]]:
    """Return the settings of a known model with another number of classes."""
    settings = copy.deepcopy(known.settings)
    for part in ("segmenter", "flow"):
        if part in settings and "num_classes" not in settings[part]:
            settings[part]["num_classes"] = classes or known.classes
    return settings
