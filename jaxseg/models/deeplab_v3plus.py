"""DeepLab-V3+: a dilated backbone, spatial pyramid pooling, a decoder.

B examples, H x W pixels, h x w logits at stride 4 (at output stride without decoder).
Source: tensorflow/models, research/deeplab/{model,core/feature_extractor}.py.
"""

import flax.linen as nn

from jaxseg.models import deeplab, layers, mobilenet_v2, segmenter
from jaxseg.types import Array

_BACKBONES = {"mobilenet_v2": (mobilenet_v2.MobileNetV2, mobilenet_v2)}


class DeepLabV3Plus(segmenter.Segmenter):
    """DeepLab-V3+ on a chosen backbone.

    `aspp_rates` are stated for output stride 16 and scale with it. Without rates and
    decoder this is the released MobileNet-V2 DeepLab, with logits at output stride.
    `bn_momentum` 0 keeps the sources' slow averages (0.997 and 0.9997), meant for long
    trainings. Training needs the random stream "dropout", unless `dropout` is 0.
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

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        """Return logits [B, h, w, C] of RGB `images` [B, H, W, 3] in 0..255."""
        if self.backbone not in _BACKBONES:
            known = ", ".join(_BACKBONES)
            raise ValueError(f"backbone {self.backbone!r}; expected one of: {known}")
        network, source = _BACKBONES[self.backbone]
        momentum = self.bn_momentum or None
        x = layers.images_to_float(images) * (2.0 / 255.0) - 1.0
        endpoints = network(self.width, self.output_stride, momentum, name=source.NAME)(
            x, train
        )
        x = deeplab.Aspp(
            tuple(rate * 16 // self.output_stride for rate in self.aspp_rates),
            self.aspp_channels,
            self.dropout,
            momentum,
            name="aspp",
        )(endpoints[source.TOP], train)
        if self.decoder:
            x = deeplab.Decoder(
                self.decoder_channels,
                self.low_level_channels,
                momentum,
                name="decoder",
            )(x, endpoints[source.LOW_LEVEL], train)
        return deeplab.Logits(self.num_classes, name="logits")(x)
