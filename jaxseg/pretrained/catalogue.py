"""The published checkpoints that `jaxseg convert` knows, by name."""

import copy
from typing import Any, NamedTuple

from jaxseg.errors import UserError
from jaxseg.pretrained import deeplab, dvsnet, flownet, rules, vgg


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
_FREIBURG = "for research only (lmb-freiburg/flownet2)"
_BERKELEY = "unrestricted (shelhamer/fcn.berkeleyvision.org)"
_TORCHVISION = "BSD-3-Clause (pytorch/vision)"


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


def _flow(base_channels: int, **fields) -> dict[str, dict[str, Any]]:
    settings = {
        "base_channels": base_channels,
        "border": "clamp",
        "input_size": 512,
    }
    return {"flow": settings | fields}


def _vgg(architecture: str, **fields) -> dict[str, dict[str, Any]]:
    size = 224 if architecture == "vgg16" else 513
    return {"segmenter": {"architecture": architecture, "input_size": size} | fields}


def _fcn(variant: str, parameters: int, file: str) -> Known:
    source = f"dl.caffe.berkeleyvision.org, {file}.caffemodel"
    settings = _vgg("fcn", variant=variant)
    return Known(settings, vgg.FCN, 21, parameters, source, _BERKELEY)


def _from_vgg(parameters: int, architecture: str, variant: str) -> Known:
    """Return a network of which only VGG-16 has been trained, on ImageNet."""
    settings = _vgg(architecture, variant=variant, mean=(123.675, 116.28, 103.53))
    tables = {"fcn": vgg.TORCH_TO_FCN, "deeplab_v2": vgg.TORCH_TO_DEEPLAB}
    fresh = {"fcn": r"score_\w+", "deeplab_v2": r"fc[678]\w*"}[architecture]
    return Known(
        settings,
        tables[architecture],
        5,
        parameters,
        "torchvision, vgg16-397923af.pth",
        _TORCHVISION,
        (rf"segmenter/params/{fresh}/(kernel|bias)",),
    )


_DVSNET = {
    "segmenter": {"architecture": "deeplab_fast", "input_size": (576, 1088)},
    # It sees the regions at half size.
    "flow": {"base_channels": 24, "border": "clamp", "input_size": (288, 544)},
}
_NO_LICENCE = "none stated (XUSean0118/DVSNet)"

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
    "deeplab-xception41": Known(
        _deeplab("xception_41"),
        deeplab.TABLE,
        21,
        28_108_661,
        "a training of research/deeplab",
        _APACHE,
    ),
    "deeplab-xception65": Known(
        _deeplab("xception_65"),
        deeplab.TABLE,
        21,
        41_055_413,
        "DeepLab model zoo, deeplabv3_pascal_train_aug_2018_01_04",
        _APACHE,
    ),
    "deeplab-xception71": Known(
        _deeplab("xception_71"),
        deeplab.TABLE,
        21,
        43_477_837,
        "a training of research/deeplab",
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
    "deeplab-resnet101": Known(
        _deeplab("resnet_v1_101", aspp_separable=False, decoder_separable=False),
        deeplab.TABLE,
        21,
        59_344_309,
        "a training of research/deeplab without separable convolutions in the head",
        _APACHE,
    ),
    "deeplab-resnet101-beta": Known(
        _deeplab("resnet_v1_101_beta"),
        deeplab.TABLE,
        21,
        45_812_037,
        "a training of research/deeplab",
        _APACHE,
    ),
    "deeplab-resnet50-imagenet": _imagenet(
        "resnet_v1_50", 26_692_021, "slim, resnet_v1_50_2016_08_28"
    ),
    "deeplab-resnet50-beta-imagenet": _imagenet(
        "resnet_v1_50_beta", 26_815_797, "DeepLab model zoo, resnet_v1_50_2018_05_04"
    ),
    "deeplab-resnet101-imagenet": _imagenet(
        "resnet_v1_101", 45_684_149, "slim, resnet_v1_101_2016_08_28"
    ),
    "deeplab-resnet101-beta-imagenet": _imagenet(
        "resnet_v1_101_beta", 45_807_925, "DeepLab model zoo, resnet_v1_101_2018_05_04"
    ),
    "flownet2-S": Known(
        _flow(64, num_classes=None, deconv_bias=True, normalisation="pair"),
        flownet.TORCH,
        None,
        38_676_506,
        "NVIDIA/flownet2-pytorch, FlowNet2-S_checkpoint.pth.tar",
        _FREIBURG,
    ),
    "flownet2-S-caffe": Known(
        _flow(64, num_classes=None, normalisation="stored"),
        flownet.CAFFE,
        None,
        38_675_546,
        "flownet2-models.tar.gz of Freiburg, FlowNet2-S",
        _FREIBURG,
    ),
    "flownet2-S-tf": Known(
        _flow(64, num_classes=None),
        flownet.TENSORFLOW,
        None,
        38_675_546,
        "sampepose/flownet2-tf, FlowNetS",
        _FREIBURG,
    ),
    "flownet2-s-tf": Known(
        _flow(24, num_classes=None),
        flownet.TENSORFLOW,
        None,
        5_462_306,
        "the flow network of XUSean0118/DVSNet by itself",
        _FREIBURG,
    ),
    "flownet2-s-caffe": Known(
        _flow(24, num_classes=None, normalisation="stored"),
        flownet.CAFFE,
        None,
        5_462_306,
        "flownet2-models.tar.gz of Freiburg, FlowNet2-s",
        _FREIBURG,
    ),
    "dvsnet": Known(
        _DVSNET | {"decision": {"hidden": (1024, 1024, 10), "grid": (4, 8)}},
        dvsnet.TABLE,
        19,
        67_267_672,
        "XUSean0118/DVSNet, all networks in one checkpoint",
        _NO_LICENCE,
    ),
    "dvsnet-without-decision": Known(
        _DVSNET,
        dvsnet.WITHOUT_DECISION,
        19,
        62_729_187,
        "XUSean0118/DVSNet, the checkpoint without decision network",
        _NO_LICENCE,
    ),
    "fcn32s": _fcn("32s", 134_346_581, "fcn32s-heavy-pascal"),
    "fcn16s": _fcn("16s", 134_357_354, "fcn16s-heavy-pascal"),
    "fcn8s": _fcn("8s", 134_362_751, "fcn8s-heavy-pascal"),
    "fcn8s-atonce": _fcn("8s-atonce", 134_362_751, "fcn8s-atonce-pascal"),
    "deeplab-v2-vgg16": Known(
        _vgg("deeplab_v2", variant="aspp"),
        vgg.DEEPLAB_V2,
        21,
        37_877_652,
        "a training of DeepLab-V2 ASPP-L in Caffe",
        "none stated",
    ),
    "deeplab-largefov-vgg16": Known(
        _vgg("deeplab_v2", variant="large_fov"),
        vgg.DEEPLAB_V2,
        21,
        20_505_429,
        "a training of DeepLab-LargeFOV in Caffe",
        "none stated",
    ),
    "vgg16": Known(
        _vgg("vgg16"),
        vgg.TORCH,
        1000,
        138_357_544,
        "torchvision, vgg16-397923af.pth",
        _TORCHVISION,
    ),
    "fcn32s-imagenet": _from_vgg(134_281_029, "fcn", "32s"),
    "fcn16s-imagenet": _from_vgg(134_283_594, "fcn", "16s"),
    "fcn8s-imagenet": _from_vgg(134_284_879, "fcn", "8s"),
    "fcn8s-atonce-imagenet": _from_vgg(134_284_879, "fcn", "8s-atonce"),
    "deeplab-v2-imagenet": _from_vgg(37_812_052, "deeplab_v2", "aspp"),
    "deeplab-largefov-imagenet": _from_vgg(20_489_029, "deeplab_v2", "large_fov"),
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
