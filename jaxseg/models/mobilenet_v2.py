"""MobileNet-V2 as TensorFlow DeepLab uses it: dilated, and without the last 1x1 conv.

Source: tensorflow/models, research/slim/nets/mobilenet/{mobilenet,mobilenet_v2}.py.
"""

import flax.linen as nn

from jaxseg.models import dilation, layers
from jaxseg.types import Array

NAME = "MobilenetV2"
LOW_LEVEL = "layer_4/depthwise_output"  # stride 4, what DeepLab's decoder reads
TOP = "layer_18"

# (expansion, channels, stride) of expanded_conv, expanded_conv_1, ...
_BLOCKS = (
    [(1, 16, 1)]
    + [(6, 24, 2), (6, 24, 1)]
    + [(6, 32, 2)]
    + [(6, 32, 1)] * 2
    + [(6, 64, 2)]
    + [(6, 64, 1)] * 3
    + [(6, 96, 1)] * 3
    + [(6, 160, 2)]
    + [(6, 160, 1)] * 2
    + [(6, 320, 1)]
)
_EPSILON = 1e-3
_MOMENTUM = 0.997
_INIT = nn.initializers.truncated_normal(0.09)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of `divisor`, never below nine tenths of `channels`."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class MobileNetV2(nn.Module):
    """Return the endpoints of images [B, H, W, 3] in [-1, 1] by name.

    layer_1 .. layer_18 are the outputs of the layers, layer_n/depthwise_output what
    lies inside them. Strides beyond `output_stride` (8, 16 or 32) become dilation.
    Numbers of channels are `width` times the published ones, in multiples of `divisor`.
    """

    width: float = 1.0
    output_stride: int = 16
    momentum: float | None = None
    divisor: int = 8

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> dict[str, Array]:
        momentum = _MOMENTUM if self.momentum is None else self.momentum
        norm = {"epsilon": _EPSILON, "momentum": momentum, "kernel_init": _INIT}
        first = make_divisible(32 * self.width, self.divisor)
        stem = layers.ConvNorm(first, 3, 2, nn.relu6, name="Conv", **norm)
        x = stem(x, train)
        endpoints = {"layer_1": x}
        strides = [stride for _, _, stride in _BLOCKS]
        plan = dilation.plan(strides, 2, self.output_stride)
        for index, (expansion, channels, _) in enumerate(_BLOCKS):
            x, inner = InvertedResidual(
                make_divisible(channels * self.width, self.divisor),
                expansion,
                *plan[index],
                norm,
                name=f"expanded_conv_{index}" if index else "expanded_conv",
            )(x, train)
            endpoints[f"layer_{index + 2}/depthwise_output"] = inner
            endpoints[f"layer_{index + 2}"] = x
        return endpoints


class InvertedResidual(nn.Module):
    """Expand, convolve by channel, project; return the output and the inner map."""

    features: int
    expansion: int
    stride: int
    rate: int
    norm: dict

    @nn.compact
    def __call__(self, x: Array, train: bool) -> tuple[Array, Array]:
        inner = x
        if self.expansion > 1:
            channels = make_divisible(x.shape[-1] * self.expansion)
            expand = layers.ConvNorm(
                channels, activation=nn.relu6, name="expand", **self.norm
            )
            inner = expand(inner, train)
        inner = layers.DepthwiseNorm(
            self.stride, self.rate, nn.relu6, name="depthwise", **self.norm
        )(inner, train)
        project = layers.ConvNorm(
            self.features, activation=None, name="project", **self.norm
        )
        y = project(inner, train)
        if self.stride == 1 and x.shape[-1] == self.features:
            y = y + x
        return y, inner
