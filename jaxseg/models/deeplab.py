"""The head of DeepLab-V3+: atrous spatial pyramid pooling, decoder.

Source: tensorflow/models, research/deeplab/model.py. Separable convolutions here
activate after both halves.
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.models import layers
from jaxseg.ops import resize
from jaxseg.types import Array

_EPSILON = 1e-5
_MOMENTUM = 0.9997
_POINTWISE_INIT = nn.initializers.truncated_normal(0.06)


class Aspp(nn.Module):
    """Pool `x` [B, h, w, C] at several rates: [B, h, w, channels].

    `rates` are those of the feature map itself; without any, image pooling and the
    1x1 branch remain (the released MobileNet-V2 form). Convolutions at a rate are
    `separable` or plain.
    """

    rates: tuple[int, ...] = (6, 12, 18)
    channels: int = 256
    dropout: float = 0.1
    momentum: float | None = None
    separable: bool = True

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        norm = _norm(self.momentum)
        pooled = jnp.mean(x, axis=(1, 2), keepdims=True)
        pooled = layers.ConvNorm(self.channels, name="image_pooling", **norm)(
            pooled, train
        )
        branches = [
            jnp.broadcast_to(pooled, (*x.shape[:3], self.channels)),
            layers.ConvNorm(self.channels, name="aspp0", **norm)(x, train),
        ]
        for index, rate in enumerate(self.rates, start=1):
            name = f"aspp{index}"
            if self.separable:
                branch = _Separable(name, self.channels, rate, self.momentum)
            else:
                branch = layers.ConvNorm(self.channels, 3, rate=rate, name=name, **norm)
            branches.append(branch(x, train))
        x = jnp.concatenate(branches, axis=-1)
        x = layers.ConvNorm(self.channels, name="concat_projection", **norm)(x, train)
        return layers.Dropout(self.dropout)(x, train)


class Decoder(nn.Module):
    """Refine `x` [B, h, w, C] with a finer map [B, H, W, D]: [B, H, W, channels]."""

    channels: int = 256
    low_level_channels: int = 48
    momentum: float | None = None
    separable: bool = True

    @nn.compact
    def __call__(self, x: Array, low_level: Array, train: bool = False) -> Array:
        projection = layers.ConvNorm(
            self.low_level_channels,
            name="feature_projection0",
            **_norm(self.momentum),
        )
        low_level = projection(low_level, train)
        x = resize.resize_bilinear(x, low_level.shape[1:3])
        x = jnp.concatenate([x, low_level], axis=-1)
        if not self.separable:
            plain = _Repeated(self.channels, self.momentum, name="decoder_conv0")
            return plain(x, train)
        for index in range(2):
            name = f"decoder_conv{index}"
            x = _Separable(name, self.channels, 1, self.momentum)(x, train)
        return x


class Logits(nn.Module):
    """Classify every pixel of `x` in float32: [B, h, w, num_classes]."""

    num_classes: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        init = nn.initializers.truncated_normal(0.01)
        return layers.Conv(
            self.num_classes, kernel_size=1, kernel_init=init, name="semantic"
        )(x.astype(jnp.float32))


class _Repeated(nn.Module):
    """Two plain convolutions, NAME/NAME_1 and NAME/NAME_2 (slim's repeat)."""

    channels: int
    momentum: float | None

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        norm = _norm(self.momentum)
        for index in (1, 2):
            name = f"{self.name}_{index}"
            x = layers.ConvNorm(self.channels, 3, name=name, **norm)(x, train)
        return x


class _Separable:
    """Two sibling modules of the caller, NAME_depthwise and NAME_pointwise."""

    def __init__(self, name: str, channels: int, rate: int, momentum: float | None):
        norm = _norm(momentum)
        self.depthwise = layers.DepthwiseNorm(
            rate=rate, name=f"{name}_depthwise", **norm
        )
        self.pointwise = layers.ConvNorm(
            channels, kernel_init=_POINTWISE_INIT, name=f"{name}_pointwise", **norm
        )

    def __call__(self, x: Array, train: bool) -> Array:
        return self.pointwise(self.depthwise(x, train), train)


def _norm(momentum: float | None) -> dict[str, float]:
    return {
        "epsilon": _EPSILON,
        "momentum": _MOMENTUM if momentum is None else momentum,
    }
