"""ResNet v1 as TensorFlow DeepLab uses it: dilated, strided at the end of a block.

Sources: tensorflow/models, research/deeplab/core/{resnet_v1_beta,feature_extractor}.py
and research/slim/nets/resnet_utils.py. Strided convolutions pad alike on all sizes.
"""

import functools

import flax.linen as nn

from jaxseg.models import dilation, layers
from jaxseg.types import Array

LOW_LEVEL = "block1/unit_2/bottleneck_v1/conv3"  # stride 4, what the decoder reads
TOP = "block4"

UNITS_50 = (3, 4, 6, 3)
UNITS_101 = (3, 4, 23, 3)

# (name, channels, kernel size, stride)
_BETA_ROOT = (("conv1_1", 64, 3, 2), ("conv1_2", 64, 3, 1), ("conv1_3", 128, 3, 1))
_PLAIN_ROOT = (("conv1", 64, 7, 2),)
_EPSILON = 1e-5
_MOMENTUM = 0.95
_INIT = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


class ResNetV1(nn.Module):
    """Return the endpoints of prepared images [B, H, W, 3] by name.

    block1 .. block4 are the outputs of the blocks, blockN/unit_M/bottleneck_v1/conv3
    what a unit adds to its input: normalised, before sum and ReLU. `beta` has three 3x3
    convolutions for the 7x7 one at the root. Strides beyond `output_stride` (8, 16 or
    32) become dilation, which `multi_grid` multiplies in the units of the last block.
    """

    units: tuple[int, int, int, int] = UNITS_50
    beta: bool = True
    output_stride: int = 16
    multi_grid: tuple[int, int, int] = (1, 1, 1)
    momentum: float | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> dict[str, Array]:
        norm = {
            "epsilon": _EPSILON,
            "momentum": _MOMENTUM if self.momentum is None else self.momentum,
            "kernel_init": _INIT,
            "fixed_padding": True,
        }
        for name, features, size, stride in _BETA_ROOT if self.beta else _PLAIN_ROOT:
            x = layers.ConvNorm(features, size, stride, name=name, **norm)(x, train)
        x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
        endpoints = {}
        for index, plan in enumerate(self._plans(), start=1):
            name = f"block{index}"
            x, inner = _Block(32 * 2**index, plan, norm, name=name)(x, train)
            endpoints |= {f"{name}/{unit}": y for unit, y in inner.items()}
            endpoints[name] = x
        return endpoints

    def _plans(self) -> list[tuple[tuple[int, int], ...]]:
        """Return the strides and rates of the units of every block."""
        ends = [(1,) * (count - 1) + (2,) for count in self.units[:-1]]
        ends.append((1,) * self.units[-1])
        plan = iter(dilation.plan(sum(ends, ()), 4, self.output_stride))
        plans = [tuple(next(plan) for _ in block) for block in ends]
        grids = zip(plans[-1], self.multi_grid, strict=True)
        plans[-1] = tuple((stride, rate * grid) for (stride, rate), grid in grids)
        return plans


class _Block(nn.Module):
    """Run units one after another; return the last output and all inner maps."""

    channels: int
    plan: tuple[tuple[int, int], ...]
    norm: dict

    @nn.compact
    def __call__(self, x: Array, train: bool) -> tuple[Array, dict[str, Array]]:
        inner = {}
        for index, (stride, rate) in enumerate(self.plan, start=1):
            make = functools.partial(
                _Bottleneck,
                self.channels,
                stride,
                rate,
                self.norm,
                name="bottleneck_v1",
            )
            name = f"unit_{index}"
            x, residual = layers.Scope(make, name=name)(x, train)
            inner[f"{name}/bottleneck_v1/conv3"] = residual
        return x, inner


class _Bottleneck(nn.Module):
    """Reduce, convolve, expand, add; return the output and what was added."""

    channels: int
    stride: int
    rate: int
    norm: dict

    @nn.compact
    def __call__(self, x: Array, train: bool) -> tuple[Array, Array]:
        conv = functools.partial(layers.ConvNorm, **self.norm)
        out = 4 * self.channels
        y = conv(self.channels, name="conv1")(x, train)
        y = conv(self.channels, 3, self.stride, rate=self.rate, name="conv2")(y, train)
        y = conv(out, activation=None, name="conv3")(y, train)
        if x.shape[-1] == out:
            x = x[:, :: self.stride, :: self.stride]
        else:
            shortcut = conv(out, 1, self.stride, activation=None, name="shortcut")
            x = shortcut(x, train)
        return nn.relu(x + y), y
