"""Names of VGG-16 in checkpoints of torchvision, of FCN and of DeepLab in Caffe.

wkentaro/pytorch-fcn has FCN's Caffe layers, for BGR too, by torch's names of tensors.
"""

import functools

import numpy as np

from jaxseg.pretrained.rules import Rule, Skip, Table

_PARAMS = "segmenter/params"
_BODY = f"{_PARAMS}/vgg16"
# Places of the convolutions in torchvision's `features`.
_FEATURES = {
    "conv1_1": 0,
    "conv1_2": 2,
    "conv2_1": 5,
    "conv2_2": 7,
    "conv3_1": 10,
    "conv3_2": 12,
    "conv3_3": 14,
    "conv4_1": 17,
    "conv4_2": 19,
    "conv4_3": 21,
    "conv5_1": 24,
    "conv5_2": 26,
    "conv5_3": 28,
}


def _torch(place: str, target: str, *steps: str) -> tuple[Rule, Rule]:
    place = place.replace(".", r"\.")
    return (
        Rule(rf"{place}\.weight", f"{target}/kernel", steps),
        Rule(rf"{place}\.bias", f"{target}/bias"),
    )


# Its images are divided by a deviation, which goes into the first layer instead.
_TORCH_BODY = tuple(
    rule
    for name, place in _FEATURES.items()
    for rule in _torch(
        f"features.{place}",
        f"{_BODY}/{name}",
        "conv",
        *(("imagenet_std",) if place == 0 else ()),
    )
)
_TORCH_FC6 = _torch("classifier.0", f"{_PARAMS}/fc6", "dense_to_conv7")
_TORCH_FC7 = _torch("classifier.3", f"{_PARAMS}/fc7", "dense_to_conv1")
_TORCH_FC8 = _torch("classifier.6", f"{_PARAMS}/fc8", "dense_to_conv1")

TORCH = Table((*_TORCH_BODY, *_TORCH_FC6, *_TORCH_FC7, *_TORCH_FC8))
TORCH_TO_FCN = Table(
    (*_TORCH_BODY, *_TORCH_FC6, *_TORCH_FC7),
    (Skip(r"classifier\.6\..*", "the scores of ImageNet's classes"),),
)
TORCH_TO_DEEPLAB = Table(
    _TORCH_BODY,
    (Skip(r"classifier\..*", "the layers for whole images"),),
)

_KERNEL, _BIAS = r"(?:/0|\.weight)", r"(?:/1|\.bias)"
_CAFFE_BODY = (
    Rule(f"conv1_1{_KERNEL}", f"{_BODY}/conv1_1/kernel", ("conv", "bgr")),
    Rule(rf"(conv\d_\d){_KERNEL}", rf"{_BODY}/\1/kernel", ("conv",)),
    Rule(rf"(conv\d_\d){_BIAS}", rf"{_BODY}/\1/bias", ("vector",)),
)


def _caffe(layers: str) -> tuple[Rule, Rule]:
    return (
        Rule(f"({layers}){_KERNEL}", rf"{_PARAMS}/\1/kernel", ("conv",)),
        Rule(f"({layers}){_BIAS}", rf"{_PARAMS}/\1/bias", ("vector",)),
    )


def is_bilinear(weights: np.ndarray) -> bool:
    """Say whether [C, C, 2 s, 2 s] enlarge every channel by itself, bilinearly."""
    side = weights.shape[-1]
    line = 1 - np.abs(np.arange(side) - (side - 1) / 2) / (side / 2)
    channels = np.eye(*weights.shape[:2]).reshape(*weights.shape[:2], 1, 1)
    return np.allclose(weights, channels * np.outer(line, line), atol=1e-6)


def is_constant(weights: np.ndarray, value: float) -> bool:
    """Say whether all numbers are `value`, to single precision."""
    return np.allclose(weights, value, rtol=1e-6, atol=0)


FCN = Table(
    (*_CAFFE_BODY, *_caffe("fc[67]|score_fr|score_pool[34]")),
    (
        Skip(
            rf"upscore\w*{_KERNEL}", "bilinear enlargement, as ours", check=is_bilinear
        ),
        Skip(
            "scale_pool4/0",
            "a factor of 0.01, as ours",
            check=functools.partial(is_constant, value=0.01),
        ),
        Skip(
            "scale_pool3/0",
            "a factor of 0.0001, as ours",
            check=functools.partial(is_constant, value=0.0001),
        ),
    ),
)
DEEPLAB_V2 = Table((*_CAFFE_BODY, *_caffe(r"fc[67](?:_\d)?|fc8_voc12(?:_\d)?")))
