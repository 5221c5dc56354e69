"""DeepLab on VGG-16: one field of view (LargeFOV), or four that are added (V2, ASPP-L).

B examples, H x W pixels, h x w logits at stride 8, C classes. Sources:
DrSleep/tensorflow-deeplab-lfov, TheLegendAli/DeepLab-Context, and regenerated
definitions of DeepLab-V2's VGG-16.
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.models import layers, segmenter, vgg
from jaxseg.types import Array

VARIANTS = ("aspp", "large_fov")

_ASPP_RATES = (6, 12, 18, 24)
_SCORE_INIT = nn.initializers.normal(0.01)


class DeepLabV2(segmenter.Segmenter):
    """DeepLab-V2 ASPP-L, or DeepLab-LargeFOV.

    Logits cover images of 8 n + 1 pixels corner to corner; for other sizes the last row
    and column lie up to one step outside. Training needs the random stream "dropout",
    unless `dropout` is 0.
    """

    HEAD = ("fc8_voc12", *(f"fc8_voc12_{k}" for k in range(1, 5)))

    num_classes: int = 5
    variant: str = "aspp"
    width: float = 1.0
    hidden: int = 1024
    dropout: float = 0.5
    mean: tuple[float, float, float] = vgg.CAFFE_MEAN

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        """Return logits [B, h, w, C] of RGB `images` [B, H, W, 3] in 0..255."""
        if self.variant not in VARIANTS:
            known = ", ".join(VARIANTS)
            raise ValueError(f"variant {self.variant!r}; expected one of: {known}")
        x = vgg.subtract(images, self.mean).astype(self.dtype)
        x = vgg.Body(self.width, "dense", name="vgg16")(x)["pool5"]
        if self.variant == "large_fov":
            # Caffe counts the zeros of the border in its means.
            means = nn.avg_pool(x.astype(jnp.float32), (3, 3), (1, 1), "SAME")
            x = means.astype(x.dtype)
            return self._branch(x, 12, "", train)
        return sum(
            self._branch(x, rate, f"_{k}", train)
            for k, rate in enumerate(_ASPP_RATES, start=1)
        )

    def _branch(self, x: Array, rate: int, suffix: str, train: bool) -> Array:
        x = vgg.conv(self.hidden, f"fc6{suffix}", padding=rate, rate=rate)(x)
        x = layers.Dropout(self.dropout)(nn.relu(x), train)
        x = vgg.conv(self.hidden, f"fc7{suffix}", 1, padding=0)(x)
        x = layers.Dropout(self.dropout)(nn.relu(x), train)
        score = f"fc8_voc12{suffix}"
        layer = vgg.conv(self.num_classes, score, 1, 0, kernel_init=_SCORE_INIT)
        return layer(x.astype(jnp.float32))
