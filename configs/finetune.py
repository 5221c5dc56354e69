"""Fine-tune a published segmentation network with its authors' settings (section 4.2).

    jaxseg convert CHECKPOINT weights/deeplab-xception65.safetensors \
        --model deeplab-xception65
    jaxseg train --config=configs/finetune.py:deeplab-xception65,vw300 --run=runs/xc65

The argument is MODEL,DATA: a name of `MODELS`, which are names of `jaxseg convert`, and
"vw300" or "cityscapes". The weights are looked for in weights/MODEL.safetensors
(`--config.init_from` changes that); the classifier starts fresh.

Frames of 300VW are resized to `segmenter.input_size`. Those of Cityscapes keep their
pixels: training cuts `augment.crop` out of them, validation sees all 500 of val whole,
padded from 1024 x 2048 to `segmenter.input_size`. Nobody has run these with this code
on either data set yet.
"""

import ml_collections

from configs import common, segmenter

_DEEPLAB = {
    "architecture": "deeplab_v3plus",
    "output_stride": 16,
    "decoder": True,
    "aspp_rates": (6, 12, 18),
    "dropout": 0.1,
}
_TORCH_MEAN = (123.675, 116.28, 103.53)
_VGG = {"width": 1.0, "dropout": 0.5}
# Fields of the network, which are those of the catalogue of `jaxseg convert`.
MODELS = {
    "deeplab-xception65": _DEEPLAB | {"backbone": "xception_65"},
    "deeplab-mobilenetv2": _DEEPLAB
    | {"backbone": "mobilenet_v2", "width": 1.0, "decoder": False, "aspp_rates": ()},
    "deeplab-mobilenetv2-decoder": _DEEPLAB
    | {"backbone": "mobilenet_v2", "width": 1.0},
    # With the multi grid of the paper's first author's later work (LI-Convs).
    "deeplab-resnet50-beta-imagenet": _DEEPLAB
    | {"backbone": "resnet_v1_50_beta", "multi_grid": (1, 2, 4)},
    "fcn8s-atonce": _VGG
    | {"architecture": "fcn", "variant": "8s-atonce", "hidden": 4096},
    "deeplab-v2-imagenet": _VGG
    | {
        "architecture": "deeplab_v2",
        "variant": "aspp",
        "hidden": 1024,
        "mean": _TORCH_MEAN,
    },
    "deeplab-largefov-imagenet": _VGG
    | {
        "architecture": "deeplab_v2",
        "variant": "large_fov",
        "hidden": 1024,
        "mean": _TORCH_MEAN,
    },
}
DATA = {
    "vw300": {"classes": 5, "size": 513, "crop": ()},
    "cityscapes": {"classes": 19, "size": (1025, 2049), "crop": (769, 769)},
}
_STREET = (1024, 2048)  # a frame of Cityscapes


def get_config(arg: str = "deeplab-xception65,vw300"):
    model, _, data = arg.partition(",")
    if model not in MODELS or data not in DATA:
        raise ValueError(
            f"{arg!r}; expected MODEL,DATA with one of {', '.join(MODELS)} and one of "
            f"{', '.join(DATA)}"
        )
    found = DATA[data]
    config = segmenter.get_config("vw300")
    config.data.prepared = common.base(data, "segmenter").data.prepared
    config.segmenter = ml_collections.ConfigDict(MODELS[model])
    config.segmenter.num_classes = found["classes"]
    config.segmenter.input_size = found["size"]
    config.init_from = f"weights/{model}.safetensors"
    config.new_head = True
    config.augment.crop = found["crop"]  # () = whole frames of the input size
    config.augment.pad = ()  # colour about smaller frames; () = the network's mean
    if model.startswith("fcn"):
        _fcn(config, data)
    elif config.segmenter.architecture == "deeplab_v2":
        _deeplab_v2(config)
    else:
        _deeplab_v3plus(config, model, data)
    config.train.save_every = 1_000
    config.train.eval_every = 1_000
    return config


def _deeplab_v3plus(config, model, data):
    """tensorflow/models, research/deeplab/train.py and g3doc/{pascal,cityscapes}.md."""
    resnet = "resnet" in model
    steps = 90_000 if data == "cityscapes" else 30_000
    config.train = common.train(steps, 16, "sgd", 1e-2 if resnet else 7e-3, "poly")
    config.train.weight_decay = 1e-4 if resnet else 4e-5
    config.train.bias_multiplier = 2.0
    config.freeze_batch_norm_below = 12


def _deeplab_v2(config):
    """The usual solver of DeepLab-V2; new layers learn ten times as fast.

    Its crops of Cityscapes are those of DeepLab-V3+.
    """
    config.train = common.train(20_000, 10, "sgd", 1e-3, "poly")
    config.train.weight_decay = 5e-4
    config.train.bias_multiplier = 2.0
    config.train.head_multiplier = 10.0


def _fcn(config, data):
    """shelhamer/fcn.berkeleyvision.org, voc-fcn8s-atonce/solver.prototxt.

    Its loss is the sum over pixels, its rate 1e-10 and its decay 5e-4. Ours is the
    mean, so the rate is that times the pixels of an input, and the decay that divided
    by them. Images are not augmented, and are seen whole.
    """
    if data == "cityscapes":
        # For another size, change train.learning_rate and train.weight_decay too.
        config.segmenter.input_size = _STREET
        config.augment.crop = ()
        pixels = float(_STREET[0] * _STREET[1])
    else:
        # A reference, so that another --config.segmenter.input_size changes both.
        side = config.segmenter.get_ref("input_size")
        pixels = (side * side).to_float()
    config.train = common.train(300_000, 1, "sgd", 0.0, "constant")
    config.train.learning_rate = pixels * 1e-10
    config.train.momentum = 0.99
    config.train.weight_decay = 5e-4 / pixels
    config.train.bias_multiplier = 2.0
    config.augment.min_scale = config.augment.max_scale = 1.0
    config.augment.flip = 0.0
