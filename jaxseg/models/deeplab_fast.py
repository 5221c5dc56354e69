"""DVSNet's segmentation network: DeepLab on ResNet-101 at output stride 16.

B examples, H x W pixels, h x w logits, C classes. Source: XUSean0118/DVSNet
(model/deeplabmodel.py, model/network.py), whose names the layers have.
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.models import layers, segmenter, vgg
from jaxseg.types import Array

_MEAN = (123.68, 116.779, 103.939)  # RGB
_EPSILON = 1e-3  # slim's default
_MOMENTUM = 0.999
_WIDTHS = (64, 128, 256, 512)
_STAGE_4_RATES = (4, 2, 2)  # of the units behind the first, over and over
_STAGE_5_RATES = (4, 8, 16)
_HEAD_RATES = (6, 12, 18)


class DeepLabFast(segmenter.Segmenter):
    """DeepLab-Fast of DVSNet, which propagates its logits as they are.

    TensorFlow's padding puts pixel i of the logits at pixel 16 i of the image, so they
    cover images of 16 n + 1 pixels corner to corner; for the even sizes of DVSNet the
    resizing that fits, and that of the source, is the "legacy" rule of `ops.resize`.
    `bn_momentum` 0 keeps the source's 0.999. `units` is the number of residual units in
    each stage.
    """

    HEAD = ("fc_out",)
    RULE = "legacy"
    POSTERIOR = False
    PROPAGATES_ON = "flow"

    num_classes: int = 19
    width: float = 1.0
    units: tuple[int, int, int, int] = (3, 4, 23, 3)
    mean: tuple[float, float, float] = _MEAN
    bn_momentum: float = 0.0

    def __call__(self, images: Array, train: bool = False) -> Array:
        """Return logits [B, h, w, C] of RGB `images` [B, H, W, 3] in 0..255."""
        return self.endpoints(images, train)["fc_out"]

    def features(self, images: Array) -> Array:
        """Return the logits [B, h, w, C]: they are what DVSNet propagates."""
        return self(images)

    @nn.compact
    def endpoints(self, images: Array, train: bool = False) -> dict[str, Array]:
        """Return the logits and the maps on the way, by the names of the source."""
        x = vgg.subtract(images, self.mean).astype(self.dtype)
        x = self._conv_norm(x, "conv1", "bn_conv1", 64, 7, 2, train=train)
        x = nn.max_pool(nn.relu(x), (3, 3), (2, 2), "SAME")
        maps = {"pool1": x}
        for stage, (width, units) in enumerate(zip(_WIDTHS, self.units), start=2):
            for index in range(units):
                name = f"{stage}{_letter(stage, index)}"
                x = self._unit(x, name, width, stage, index, train)
            maps[f"res{name}_relu"] = x
        branches = [
            self._conv_norm(x, name, f"{name}_bn", 256, size, 1, rate, True, train)
            for name, size, rate in _head_branches()
        ]
        x = self._conv_norm(sum(branches), "fc_oooo", "fc_oooo_bn", 256, train=train)
        maps["fc_oooo_bn"] = x
        maps["fc_out"] = _conv(self.num_classes, "fc_out")(x.astype(jnp.float32))
        return maps

    def _unit(self, x, name, width, stage, index, train):
        """Add a bottleneck to `x`, or to its projection in the first unit."""
        stride = 2 if index == 0 and stage in (3, 4) else 1
        rate = _rate(stage, index)

        def layer(x, branch, features, size=1, stride=1, rate=1):
            ours = f"{name}_branch{branch}"
            return self._conv_norm(
                x, f"res{ours}", f"bn{ours}", features, size, stride, rate, train=train
            )

        shortcut = layer(x, "1", 4 * width, 1, stride) if index == 0 else x
        y = nn.relu(layer(x, "2a", width, 1, stride))
        y = nn.relu(layer(y, "2b", width, 3, 1, rate))
        return nn.relu(shortcut + layer(y, "2c", 4 * width))

    def _conv_norm(
        self,
        x,
        conv,
        norm,
        features,
        kernel_size=1,
        stride=1,
        rate=1,
        use_bias=False,
        train=False,
    ):
        features = max(1, round(features * self.width))
        x = _conv(features, conv, kernel_size, stride, rate, use_bias)(x)
        y = nn.BatchNorm(
            use_running_average=not train,
            epsilon=_EPSILON,
            momentum=self.bn_momentum or _MOMENTUM,
            name=norm,
        )(x)
        return y.astype(x.dtype)


def _conv(features, name, kernel_size=1, stride=1, rate=1, use_bias=False):
    """Return a convolution, padded as TensorFlow does and drawn as by slim."""
    return layers.Conv(
        features,
        kernel_size,
        stride,
        use_bias,
        rate=rate,
        kernel_init=nn.initializers.xavier_uniform(),
        name=name,
    )


def _head_branches() -> list[tuple[str, int, int]]:
    """Return name, kernel size and rate of the parallel layers."""
    dilated = [(f"fc1_voc12_c{i}", 3, rate) for i, rate in enumerate(_HEAD_RATES)]
    return [*dilated, (f"fc1_voc12_c{len(_HEAD_RATES)}", 1, 1)]


def _letter(stage: int, index: int) -> str:
    """Return the name of a unit in its stage: a, b, c, or a, b1, b2 and so on."""
    if stage in (2, 5):
        return "abcdefgh"[index]
    return f"b{index}" if index else "a"


def _rate(stage: int, index: int) -> int:
    if stage == 4 and index:
        return _STAGE_4_RATES[(index - 1) % len(_STAGE_4_RATES)]
    return _STAGE_5_RATES[index] if stage == 5 else 1
