"""Xception as TensorFlow DeepLab modified it: deeper, strided convolutions for pools.

Sources: tensorflow/models, research/deeplab/core/{xception,feature_extractor}.py.
Strided convolutions pad alike on all sizes.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import flax.linen as nn

from jaxseg.models import dilation, layers
from jaxseg.types import Array

TOP = "exit_flow/block2"

_EPSILON = 1e-3
_MOMENTUM = 0.9997
_INIT = nn.initializers.truncated_normal(0.09)


class Layout(NamedTuple):
    """What the variants differ in."""

    entry: tuple[tuple[int, int], ...]  # (channels, stride) of the blocks
    middle: int  # units
    low_level: str  # stride 4, what DeepLab's decoder reads


_LOW_LEVEL = "entry_flow/block{}/unit_1/xception_module/separable_conv2_pointwise"
_ENTRY = ((128, 2), (256, 2), (728, 2))
_LONG_ENTRY = ((128, 2), (256, 1), (256, 2), (728, 1), (728, 2))

LAYOUTS = {
    41: Layout(_ENTRY, 8, _LOW_LEVEL.format(2)),
    65: Layout(_ENTRY, 16, _LOW_LEVEL.format(2)),
    71: Layout(_LONG_ENTRY, 16, _LOW_LEVEL.format(3)),
}


class Xception(nn.Module):
    """Return the endpoints of images [B, H, W, 3] in [-1, 1] by name.

    entry_flow/blockN, middle_flow/block1 and exit_flow/blockN are the outputs of the
    blocks; FLOW/blockN/unit_M/xception_module/separable_conv2_pointwise lie within, in
    the entry and exit flows before any ReLU. Strides beyond `output_stride` (8, 16 or
    32) become dilation, which `multi_grid` multiplies in the last block.
    """

    layout: Layout = LAYOUTS[65]
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
        endpoints = {}
        for name, blocks in self._flows().items():
            x, inner = _Flow(blocks, norm, name == "entry_flow", name=name)(x, train)
            endpoints |= {f"{name}/{block}": y for block, y in inner.items()}
        return endpoints

    def _flows(self) -> dict[str, tuple[tuple["_Unit", ...], ...]]:
        """Return the units of every block of every flow."""
        entry, width = self.layout.entry, self.layout.entry[-1][0]
        strides = [stride for _, stride in entry] + [1] * self.layout.middle + [2, 1]
        plan = iter(dilation.plan(strides, 2, self.output_stride))
        return {
            "entry_flow": tuple(_block(plan, (n,) * 3, "conv") for n, _ in entry),
            "middle_flow": (_block(plan, (width,) * 3, "sum", self.layout.middle),),
            "exit_flow": (
                _block(plan, (width, 1024, 1024), "conv"),
                _block(plan, (1536, 1536, 2048), "none", grid=self.multi_grid),
            ),
        }


class _Unit(NamedTuple):
    """Three separable convolutions, the last with the stride, and a way around them."""

    channels: tuple[int, int, int]
    skip: str  # "conv", "sum" or "none"
    stride: int
    rates: tuple[int, int, int]


def _block(
    plan: Iterator[tuple[int, int]],
    channels: tuple[int, int, int],
    skip: str,
    count: int = 1,
    grid: tuple[int, int, int] = (1, 1, 1),
) -> tuple[_Unit, ...]:
    """Return `count` units with the next strides and rates of `plan`."""
    units = []
    for _ in range(count):
        stride, rate = next(plan)
        units.append(_Unit(channels, skip, stride, tuple(rate * g for g in grid)))
    return tuple(units)


class _Flow(nn.Module):
    """Run the blocks of a flow, behind the root if it is the first."""

    blocks: tuple[tuple[_Unit, ...], ...]
    norm: dict
    root: bool

    @nn.compact
    def __call__(self, x: Array, train: bool) -> tuple[Array, dict[str, Array]]:
        if self.root:
            x = layers.ConvNorm(32, 3, 2, name="conv1_1", **self.norm)(x, train)
            x = layers.ConvNorm(64, 3, name="conv1_2", **self.norm)(x, train)
        found = {}
        for index, units in enumerate(self.blocks, start=1):
            name = f"block{index}"
            x, inner = _Block(units, self.norm, name=name)(x, train)
            found |= {f"{name}/{unit}": y for unit, y in inner.items()}
            found[name] = x
        return x, found


class _Block(nn.Module):
    """Run units one after another; return the last output and all inner maps."""

    units: tuple[_Unit, ...]
    norm: dict

    @nn.compact
    def __call__(self, x: Array, train: bool) -> tuple[Array, dict[str, Array]]:
        inner = {}
        for index, unit in enumerate(self.units, start=1):
            name = f"unit_{index}"
            make = functools.partial(_Module, unit, self.norm, name="xception_module")
            x, second = layers.Scope(make, name=name)(x, train)
            inner[f"{name}/xception_module/separable_conv2_pointwise"] = second
        return x, inner


class _Module(nn.Module):
    """Convolve and add; return the output and the second of the three maps.

    Without a way around, activations follow both halves of a separable convolution;
    elsewhere there is one in front of it and none within.
    """

    unit: _Unit
    norm: dict

    @nn.compact
    def __call__(self, x: Array, train: bool) -> tuple[Array, Array]:
        unit, maps = self.unit, [x]
        activation = nn.relu if unit.skip == "none" else None
        for index, (channels, rate) in enumerate(zip(unit.channels, unit.rates)):
            y = maps[-1] if activation else nn.relu(maps[-1])
            name = f"separable_conv{index + 1}"
            y = layers.DepthwiseNorm(
                unit.stride if index == 2 else 1,
                rate,
                activation,
                name=f"{name}_depthwise",
                **self.norm,
            )(y, train)
            pointwise = layers.ConvNorm(
                channels, activation=activation, name=f"{name}_pointwise", **self.norm
            )
            maps.append(pointwise(y, train))
        _, _, second, y = maps
        if unit.skip == "conv":
            shortcut = layers.ConvNorm(
                y.shape[-1], 1, unit.stride, None, name="shortcut", **self.norm
            )
            return y + shortcut(x, train), second
        return (y + x if unit.skip == "sum" else y), second
