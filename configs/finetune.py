"""Fine-tune a published segmentation network with its authors' settings (section 4.2).

    jaxseg convert CHECKPOINT weights/deeplab-xception65.safetensors \
        --model deeplab-xception65
    jaxseg train --config=configs/finetune.py:deeplab-xception65,vw300 --run=runs/xc65

The argument is MODEL,DATA: a name of `MODELS` and "vw300" or "cityscapes". The weights
are looked for in weights/MODEL.safetensors (`--config.init_from` changes that); the
classifier starts fresh. Nobody has run these with this code on either data set yet.
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
# Fields of the network, which are those of the catalogue of `jaxseg convert`.
MODELS = {
    "deeplab-xception65": _DEEPLAB | {"backbone": "xception_65"},
    "deeplab-mobilenetv2": _DEEPLAB
    | {"backbone": "mobilenet_v2", "decoder": False, "aspp_rates": ()},
    "deeplab-mobilenetv2-decoder": _DEEPLAB | {"backbone": "mobilenet_v2"},
    # With the multi grid of the paper's first author's later work (LI-Convs).
    "deeplab-resnet50-beta": _DEEPLAB
    | {"backbone": "resnet_v1_50_beta", "multi_grid": (1, 2, 4)},
    "fcn8s-atonce": {"architecture": "fcn", "variant": "8s-atonce"},
    "deeplab-v2-vgg16": {"architecture": "deeplab_v2", "variant": "aspp"},
    "deeplab-largefov-vgg16": {"architecture": "deeplab_v2", "variant": "large_fov"},
}
DATA = {
    "vw300": {"prepared": "data/300vw", "classes": 5, "size": 513},
    # DeepLab's crop, at least as large as half a frame.
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
    elif "vgg16" in model:
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
    # Below 12 examples a batch the statistics are better kept.
    config.freeze_batch_norm = config.train.batch_size < 12


def _deeplab_v2(config):
    """The usual solver of DeepLab-V2; new layers learn ten times as fast."""
    config.train = common.train(20_000, 10, "sgd", 1e-3, "poly")
    config.train.weight_decay = 5e-4
    config.train.bias_multiplier = 2.0
    config.train.head_multiplier = 10.0


def _fcn(config):
    """shelhamer/fcn.berkeleyvision.org, voc-fcn8s-atonce/solver.prototxt.

    Its loss is the sum over pixels and its rate 1e-10; ours is the mean, so the rate is
    that times the pixels of an input. Images are not augmented.
    """
    rate = 1e-10 * config.segmenter.input_size**2
    config.train = common.train(300_000, 1, "sgd", rate, "constant")
    config.train.momentum = 0.99
    config.train.weight_decay = 5e-4
    config.train.bias_multiplier = 2.0
    config.augment.min_scale = config.augment.max_scale = 1.0
    config.augment.flip = 0.0
