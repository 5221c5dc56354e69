"""Fine-tune a published segmentation network with its authors' settings (section 4.2).

    jaxseg convert CHECKPOINT weights/deeplab-xception65.safetensors \
        --model deeplab-xception65
    jaxseg train --config=configs/finetune.py:deeplab-xception65,vw300 --run=runs/xc65

The argument is MODEL,DATA: a name of `MODELS`, which are names of `jaxseg convert`, and
"vw300" or "cityscapes". The weights are looked for in weights/MODEL.safetensors
(`--config.init_from` changes that); the classifier starts fresh. Nobody has run these
with this code on either data set yet, and `jaxseg dataset` does not read Cityscapes:
its recipes wait for that, and for a source that crops instead of resizing.
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
# Fields of the network, which are those of the catalogue of `jaxseg convert`.
MODELS = {
    "deeplab-xception65": _DEEPLAB | {"backbone": "xception_65"},
    "deeplab-mobilenetv2": _DEEPLAB
    | {"backbone": "mobilenet_v2", "decoder": False, "aspp_rates": ()},
    "deeplab-mobilenetv2-decoder": _DEEPLAB | {"backbone": "mobilenet_v2"},
    # With the multi grid of the paper's first author's later work (LI-Convs).
    "deeplab-resnet50-beta-imagenet": _DEEPLAB
    | {"backbone": "resnet_v1_50_beta", "multi_grid": (1, 2, 4)},
    "fcn8s-atonce": {"architecture": "fcn", "variant": "8s-atonce"},
    "deeplab-v2-imagenet": {
        "architecture": "deeplab_v2",
        "variant": "aspp",
        "mean": _TORCH_MEAN,
    },
    "deeplab-largefov-imagenet": {
        "architecture": "deeplab_v2",
        "variant": "large_fov",
        "mean": _TORCH_MEAN,
    },
}
DATA = {
    "vw300": {"prepared": "data/300vw", "classes": 5, "size": 513},
    "cityscapes": {"prepared": "data/cityscapes", "classes": 19, "size": 769},
}


def get_config(arg: str = "deeplab-xception65,vw300"):
    model, _, data = arg.partition(",")
    if model not in MODELS or data not in DATA:
        raise ValueError(
            f"{arg!r}; expected MODEL,DATA with one of {', '.join(MODELS)} and one of "
            f"{', '.join(DATA)}"
        )
    found = DATA[data]
    config = segmenter.get_config("vw300")
    config.data.prepared = found["prepared"]
    config.segmenter = ml_collections.ConfigDict(MODELS[model])
    config.segmenter.num_classes = found["classes"]
    config.segmenter.input_size = found["size"]
    config.init_from = f"weights/{model}.safetensors"
    config.new_head = True
    if model.startswith("fcn"):
        _fcn(config)
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
    """The usual solver of DeepLab-V2; new layers learn ten times as fast."""
    config.train = common.train(20_000, 10, "sgd", 1e-3, "poly")
    config.train.weight_decay = 5e-4
    config.train.bias_multiplier = 2.0
    config.train.head_multiplier = 10.0


def _fcn(config):
    """shelhamer/fcn.berkeleyvision.org, voc-fcn8s-atonce/solver.prototxt.

    Its loss is the sum over pixels, its rate 1e-10 and its decay 5e-4. Ours is the
    mean, so the rate is that times the pixels of an input, and the decay that divided
    by them. Images are not augmented.
    """
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
