"""FCN on VGG-16: scores at strides 32, 16 and 8, put together and enlarged.

B examples, H x W pixels, C classes. Source: shelhamer/fcn.berkeleyvision.org
(voc-fcn{32s,16s,8s,8s-atonce}/net.py), whose crop offsets these are.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.models import layers, segmenter, vgg
from jaxseg.ops import resize
from jaxseg.types import Array

VARIANTS = ("32s", "16s", "8s", "8s-atonce")

# The border of zeros around the image, because of which every map must be cropped.
_BORDER = 100
_CROPS = {"score_pool4": 5, "score_pool3": 9, 32: 19, 16: 27, 8: 31}
# "At once" is trained in one go, and takes the large numbers of the pools down for it.
_SCALES = {"score_pool4": 0.01, "score_pool3": 0.0001}


class FCN(segmenter.Segmenter):
    """FCN-32s, -16s or -8s, or -8s trained at once.

    Its own logits are at the size of the image, unlike those of other segmenters, and
    are what it is scored by. Training needs the random stream "dropout", unless
    `dropout` is 0. Fresh scores are zero, as in Caffe; the enlargement is bilinear and
    not trained.
    """

    HEAD = ("score_fr", "score_pool4", "score_pool3")

    num_classes: int = 5
    variant: str = "8s"
    width: float = 1.0
    hidden: int = 4096
    dropout: float = 0.5
    mean: tuple[float, float, float] = vgg.CAFFE_MEAN

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        """Return logits [B, H, W, C] of RGB `images` [B, H, W, 3] in 0..255."""
        if self.variant not in VARIANTS:
            known = ", ".join(VARIANTS)
            raise ValueError(f"variant {self.variant!r}; expected one of: {known}")
        x = vgg.subtract(images, self.mean).astype(self.dtype)
        pools = vgg.Body(self.width, "ceil", _BORDER, name="vgg16")(x)
        x = pools["pool5"]
        for name, size in (("fc6", 7), ("fc7", 1)):
            x = nn.relu(vgg.conv(self.hidden, name, size, padding=0)(x))
            x = layers.Dropout(self.dropout)(x, train)
        x, stride = self._score("score_fr", x), 32
        last = int(self.variant.partition("s")[0])
        for name in ("score_pool4", "score_pool3"):
            if stride > last:
                x = self._fuse(x, pools[name.removeprefix("score_")], name)
                stride //= 2
        return enlarge(x, stride, _CROPS[stride], images.shape[1:3])

    def features(self, images: Array) -> Array:
        """Return the posterior [B, h, w, C] of `images` at stride 4: N_feat.

        The grid of DeepLab-V3+'s decoder, (H - 1) // 4 + 1; for sides 4 n + 1 it has
        every fourth pixel. N_task of it is then upsampling by four, which loses what
        the full-size logits of `__call__` had.
        """
        grid = tuple((side - 1) // 4 + 1 for side in images.shape[1:3])
        return nn.softmax(resize.resize_bilinear(self(images), grid), axis=-1)

    def _fuse(self, x: Array, pool: Array, name: str) -> Array:
        """Double `x` and add the score of a pool, which reaches further out."""
        pool = pool.astype(jnp.float32)
        if self.variant == "8s-atonce":
            pool = pool * _SCALES[name]
        size = tuple(2 * (side + 1) for side in x.shape[1:3])
        x = enlarge(x, 2, 0, size)
        top = _CROPS[name]
        skip = self._score(name, pool)
        return x + skip[:, top : top + size[0], top : top + size[1]]

    def _score(self, name: str, x: Array) -> Array:
        zeros = nn.initializers.zeros
        layer = vgg.conv(self.num_classes, name, 1, padding=0, kernel_init=zeros)
        return layer(x.astype(jnp.float32))


def enlarge(x: Array, stride: int, offset: int, size: tuple[int, int]) -> Array:
    """Enlarge `x` [B, h, w, C] by `stride` as Caffe's bilinear Deconvolution does.

    Its kernel has 2 `stride` pixels, so that n pixels become (n + 1) `stride`; of these
    `size` are returned, from `offset` on along both axes.
    """
    for axis in (1, 2):
        matrix = _bilinear(x.shape[axis], stride, offset, size[axis - 1])
        x = jnp.tensordot(x, matrix, ((axis,), (1,)), precision=lax.Precision.HIGHEST)
        x = jnp.moveaxis(x, -1, axis)
    return x


def _line(stride: int) -> np.ndarray:
    """Return the bilinear kernel of one axis."""
    distance = np.abs(np.arange(2 * stride) - (stride - 0.5))
    return (1 - distance / stride).astype(np.float32)


def _bilinear(old: int, stride: int, offset: int, new: int) -> np.ndarray:
    """Return the enlargement of one axis as a matrix [new, old]."""
    matrix = np.zeros(((old + 1) * stride, old), np.float32)
    for pixel in range(old):
        matrix[pixel * stride : (pixel + 2) * stride, pixel] = _line(stride)
    return matrix[offset : offset + new]
