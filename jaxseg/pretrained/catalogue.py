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
    # Regular expressions of the leaves that start anew where the file has none.
    fresh: tuple[str, ...] = ()


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


def _imagenet(backbone: str, parameters: int, source: str, **fields) -> Known:
    """Return a DeepLab of which only the backbone has been trained, on ImageNet."""
    head = r"segmenter/(params|batch_stats)/(aspp|decoder|logits)/.*"
    settings = _deeplab(backbone, **fields)
    # The classes of the paper, as there are none in the file.
    return Known(settings, deeplab.TABLE, 5, parameters, source, _APACHE, (head,))


MODELS = {
    "deeplab-mobilenetv2": Known(
        _deeplab("mobilenet_v2", decoder=False, aspp_rates=()),
        deeplab.TABLE,
        21,
        2_113_557,
        "DeepLab model zoo, deeplabv3_mnv2_pascal_train_aug_2018_01_29",
        _APACHE,
    ),
    "deeplab-mobilenetv2-dm05": Known(
        _deeplab(
            "mobilenet_v2", decoder=False, aspp_rates=(), width=0.5, width_divisor=1
        ),
        deeplab.TABLE,
        21,
        697_013,
        "DeepLab model zoo, deeplabv3_mnv2_dm05_pascal_trainaug_2018_10_01",
        _APACHE,
    ),
    "deeplab-mobilenetv2-ade20k": Known(
        _deeplab("mobilenet_v2", aspp_rates=(), input_size=257),
        deeplab.TABLE,
        151,
        2_304_519,
        "DeepLab model zoo, deeplabv3_mnv2_ade20k_train_2018_12_03",
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
    "deeplab-mobilenetv2-imagenet": _imagenet(
        "mobilenet_v2", 2_721_461, "slim, mobilenet_v2_1.0_224"
    ),
    "deeplab-xception65": Known(
        _deeplab("xception_65"),
        deeplab.TABLE,
        21,
        41_055_413,
        "DeepLab model zoo, deeplabv3_pascal_train_aug_2018_01_04",
        _APACHE,
    ),
    "deeplab-xception41-imagenet": _imagenet(
        "xception_41", 28_104_549, "DeepLab model zoo, xception_41_2018_05_09"
    ),
    "deeplab-xception65-imagenet": _imagenet(
        "xception_65", 41_051_301, "DeepLab model zoo, deeplabv3_xception_2018_01_04"
    ),
    "deeplab-xception71-imagenet": _imagenet(
        "xception_71", 43_473_725, "DeepLab model zoo, xception_71_2018_05_09"
    ),
    "deeplab-resnet50": Known(
        _deeplab("resnet_v1_50", aspp_separable=False, decoder_separable=False),
        deeplab.TABLE,
        21,
        40_352_181,
        "a training of research/deeplab without separable convolutions in the head",
        _APACHE,
    ),
    "deeplab-resnet50-beta": Known(
        _deeplab("resnet_v1_50_beta"),
        deeplab.TABLE,
        21,
        26_819_909,
        "a training of research/deeplab",
        _APACHE,
    ),
    "deeplab-resnet50-imagenet": _imagenet(
        "resnet_v1_50", 26_692_021, "slim, resnet_v1_50_2016_08_28"
    ),
    "deeplab-resnet50-beta-imagenet": _imagenet(
        "resnet_v1_50_beta", 26_815_797, "DeepLab model zoo, resnet_v1_50_2018_05_04"
    ),
    "deeplab-resnet101-beta-imagenet": _imagenet(
        "resnet_v1_101_beta", 45_807_925, "DeepLab model zoo, resnet_v1_101_2018_05_04"
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
