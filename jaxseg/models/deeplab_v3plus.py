"""DeepLab-V3+: a dilated backbone, spatial pyramid pooling, a decoder.

B examples, H x W pixels, h x w logits at stride 4 (at output stride without decoder).
Source: tensorflow/models, research/deeplab/{model,core/feature_extractor}.py.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.models import deeplab, layers, mobilenet_v2, resnet_v1, segmenter, xception
from jaxseg.types import Array


class _Backbone(NamedTuple):
    scope: str
    make: Callable[..., nn.Module]
    low_level: str  # names of endpoints
    top: str
    scaled: bool = True  # takes images in [-1, 1], or else less the means
    mobile: bool = False  # has widths, but no multi grid


def _resnet(depth: int, units: tuple[int, ...], beta: bool) -> _Backbone:
    make = functools.partial(resnet_v1.ResNetV1, units, beta)
    scope = f"resnet_v1_{depth}"
    return _Backbone(scope, make, resnet_v1.LOW_LEVEL, resnet_v1.TOP, scaled=beta)


def _xception(depth: int) -> _Backbone:
    layout = xception.LAYOUTS[depth]
    make = functools.partial(xception.Xception, layout)
    return _Backbone(f"xception_{depth}", make, layout.low_level, xception.TOP)


BACKBONES = {
    "mobilenet_v2": _Backbone(
        mobilenet_v2.NAME,
        mobilenet_v2.MobileNetV2,
        mobilenet_v2.LOW_LEVEL,
        mobilenet_v2.TOP,
        mobile=True,
    ),
    "resnet_v1_50": _resnet(50, resnet_v1.UNITS_50, beta=False),
    "resnet_v1_50_beta": _resnet(50, resnet_v1.UNITS_50, beta=True),
    "resnet_v1_101": _resnet(101, resnet_v1.UNITS_101, beta=False),
    "resnet_v1_101_beta": _resnet(101, resnet_v1.UNITS_101, beta=True),
    "xception_41": _xception(41),
    "xception_65": _xception(65),
    "xception_71": _xception(71),
}
_MEANS = (123.15, 115.90, 103.06)  # of ImageNet, RGB


class DeepLabV3Plus(segmenter.Segmenter):
    """DeepLab-V3+ on a chosen backbone, one of `BACKBONES`.

    `aspp_rates` are stated for output stride 16 and scale with it. Without rates and
    decoder this is the released MobileNet-V2 DeepLab, with logits at output stride.
    `width` and `width_divisor` (1 in DeepLab's own narrow networks) are MobileNet's,
    `multi_grid` is the others'. `bn_momentum` 0 keeps the sources' slow averages (0.95
    in ResNet, 0.997 and 0.9997), meant for long trainings. Training needs the random
    stream "dropout", unless `dropout` is 0.
    """

    num_classes: int = 5
    backbone: str = "mobilenet_v2"
    width: float = 1.0
    output_stride: int = 16
    decoder: bool = True
    aspp_rates: tuple[int, ...] = (6, 12, 18)
    aspp_channels: int = 256
    decoder_channels: int = 256
    low_level_channels: int = 48
    dropout: float = 0.1
    bn_momentum: float = 0.0
    width_divisor: int = 8
    multi_grid: tuple[int, int, int] = (1, 1, 1)
    aspp_separable: bool = True
    decoder_separable: bool = True

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        """Return logits [B, h, w, C] of RGB `images` [B, H, W, 3] in 0..255."""
        momentum = self.bn_momentum or None
        x = self.prepare(images).astype(self.dtype)
        source = BACKBONES[self.backbone]
        endpoints = self._backbone(momentum)(x, train)
        x = deeplab.Aspp(
            tuple(rate * 16 // self.output_stride for rate in self.aspp_rates),
            self.aspp_channels,
            self.dropout,
            momentum,
            self.aspp_separable,
            name="aspp",
        )(endpoints[source.top], train)
        if self.decoder:
            x = deeplab.Decoder(
                self.decoder_channels,
                self.low_level_channels,
                momentum,
                self.decoder_separable,
                name="decoder",
            )(x, endpoints[source.low_level], train)
        return deeplab.Logits(self.num_classes, name="logits")(x)

    def prepare(self, images: Array) -> Array:
        """Return `images` in 0..255 as the backbone takes them."""
        self._check()
        x = layers.images_to_float(images)
        if BACKBONES[self.backbone].scaled:
            return x * (2.0 / 255.0) - 1.0
        return x - jnp.asarray(_MEANS)

    def _backbone(self, momentum: float | None) -> nn.Module:
        source = BACKBONES[self.backbone]
        fields = {"output_stride": self.output_stride, "momentum": momentum}
        if source.mobile:
            fields |= {"width": self.width, "divisor": self.width_divisor}
        else:
            fields |= {"multi_grid": self.multi_grid}
        return source.make(name=source.scope, **fields)

    def _check(self) -> None:
        if self.backbone not in BACKBONES:
            known = ", ".join(BACKBONES)
            raise ValueError(f"backbone {self.backbone!r}; expected one of: {known}")
        if len(self.multi_grid) != 3:
            raise ValueError(f"multi_grid {self.multi_grid}; expected three numbers")
        mobile = BACKBONES[self.backbone].mobile
        if mobile and self.multi_grid != (1, 1, 1):
            raise ValueError(f"multi_grid {self.multi_grid}; MobileNet has none")
        if not mobile and self.width != 1:
            raise ValueError(f"width {self.width}; expected 1 for {self.backbone}")
