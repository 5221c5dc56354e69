"""VGG-16: the body that FCN and DeepLab-V2 build on, and the classifier it comes from.

B examples, H x W pixels, C classes. Layers have the names of the Caffe nets. Sources:
shelhamer/fcn.berkeleyvision.org (net.py), DrSleep/tensorflow-deeplab-lfov,
pytorch/vision (torchvision/models/vgg.py).
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.errors import UserError
from jaxseg.models import layers, segmenter
from jaxseg.types import Array

# Taken off RGB. The Caffe nets state the same as BGR.
CAFFE_MEAN = (122.67892, 116.66877, 104.00699)
TORCH_MEAN = (123.675, 116.28, 103.53)  # 255 (.485, .456, .406)

_DEPTHS = (2, 2, 3, 3, 3)
_WIDTHS = (64, 128, 256, 512, 512)
_HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class Body(nn.Module):
    """Return the maps behind the five poolings of prepared images, by name.

    `pooling` is "ceil" (2x2, an odd last row or column makes a pixel: Caffe's FCN),
    "floor" (2x2, it is dropped: torchvision) or "dense" (3x3, overlapping, the last two
    without stride and conv5 dilated: DeepLab, output stride 8). `padding` is that of
    conv1_1.
    """

    width: float = 1.0
    pooling: str = "ceil"
    padding: int = 1

    @nn.compact
    def __call__(self, x: Array) -> dict[str, Array]:
        maps = {}
        for block, (depth, width) in enumerate(zip(_DEPTHS, _WIDTHS), start=1):
            rate = 2 if self.pooling == "dense" and block == 5 else 1
            for index in range(1, depth + 1):
                is_first = (block, index) == (1, 1)
                x = conv(
                    max(1, round(width * self.width)),
                    f"conv{block}_{index}",
                    padding=self.padding if is_first else rate,
                    rate=rate,
                )(x)
                x = nn.relu(x)
            x = _pool(x, self.pooling, block)
            maps[f"pool{block}"] = x
        return maps


class Classifier(segmenter.Segmenter):
    """The image classifier of torchvision: a single score for every class.

    It is a network to hold a file against, and has no use on frames: its map of logits
    is [B, 1, 1, C] for images of any size (pooled to 7 x 7 before fc6).
    """

    HEAD = ("fc8",)

    num_classes: int = 1000
    width: float = 1.0
    hidden: int = 4096
    dropout: float = 0.5
    mean: tuple[float, float, float] = TORCH_MEAN

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        """Return logits [B, 1, 1, C] of RGB `images` [B, H, W, 3] in 0..255.

        Raises UserError for images of which five poolings leave nothing.
        """
        _check_size(*images.shape[1:3])
        x = subtract(images, self.mean).astype(self.dtype)
        x = Body(self.width, "floor", name="vgg16")(x)["pool5"]
        x = _pool_to(_pool_to(x, 7, 1), 7, 2).astype(self.dtype)
        for name, size in (("fc6", 7), ("fc7", 1)):
            x = nn.relu(conv(self.hidden, name, size, padding=0)(x))
            x = layers.Dropout(self.dropout)(x, train)
        return conv(self.num_classes, "fc8", 1, padding=0)(x.astype(jnp.float32))


def conv(
    features: int,
    name: str,
    kernel_size: int = 3,
    padding: int = 1,
    rate: int = 1,
    kernel_init: layers.Initializer = _HE,
) -> layers.Conv:
    """Make a layer with the padding of Caffe: zeros on each side."""
    return layers.Conv(
        features,
        kernel_size,
        padding=padding,
        rate=rate,
        kernel_init=kernel_init,
        name=name,
    )


def subtract(images: Array, mean: tuple[float, float, float]) -> Array:
    """Return images [..., 3], uint8 or float in 0..255, less an RGB mean."""
    return layers.images_to_float(images) - jnp.asarray(mean)


def _check_size(height: int, width: int) -> None:
    least = 2 ** len(_DEPTHS)
    if min(height, width) < least:
        raise UserError(
            f"images are {height} x {width} pixels; expected {least} x {least} or "
            f"more, as VGG-16 halves them {len(_DEPTHS)} times; give larger ones"
        )


def _pool(x: Array, pooling: str, block: int) -> Array:
    if pooling in ("ceil", "floor"):
        padding = "SAME" if pooling == "ceil" else "VALID"
        return nn.max_pool(x, (2, 2), (2, 2), padding)
    if pooling == "dense":
        stride = 2 if block <= 3 else 1
        # Caffe rounds up, so an even side gets a window that is half outside.
        pads = [(1, 1 if stride == 1 or side % 2 else 2) for side in x.shape[1:3]]
        return nn.max_pool(x, (3, 3), (stride, stride), pads)
    raise ValueError(f"pooling {pooling!r}; expected 'ceil', 'floor' or 'dense'")


def _pool_to(x: Array, new: int, axis: int) -> Array:
    """Average an axis to `new` pixels over windows that may overlap, in float32."""
    old = x.shape[axis]
    if old == new:
        return x
    matrix = np.zeros((new, old), np.float32)
    for i in range(new):
        start, stop = i * old // new, -(-(i + 1) * old // new)
        matrix[i, start:stop] = 1 / (stop - start)
    x = x.astype(jnp.float32)
    y = jnp.tensordot(x, matrix, ((axis,), (1,)), precision=lax.Precision.HIGHEST)
    return jnp.moveaxis(y, -1, axis)
