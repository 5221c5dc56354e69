"""Caffe's networks on VGG-16 as their prototxts say: [B, C, H, W] in BGR.

Layers are name -> [weights [O, I, kh, kw], bias]. Sources: shelhamer/
fcn.berkeleyvision.org (voc-fcn*/*.prototxt), TheLegendAli/DeepLab-Context, and
definitions of DeepLab-V2's VGG-16.
"""

import jax
import numpy as np
from jax import lax

_MEAN = np.array([104.00699, 116.66877, 122.67892], np.float32)[:, None, None]
_DEPTHS = (2, 2, 3, 3, 3)
# Score of a pool, where it is cropped, and the layer behind the sum; then the crop of
# the last one.
_FCN = {
    "32s": ("upscore", (), 19),
    "16s": ("upscore2", (("pool4", 5, "upscore16"),), 27),
    "8s": (
        "upscore2",
        (("pool4", 5, "upscore_pool4"), ("pool3", 9, "upscore8")),
        31,
    ),
}


def fcn(layers, variant, images):
    """Return the scores of FCN; `variant` is 32s, 16s or 8s."""
    x, pools = images - _MEAN, {}
    for block, depth in enumerate(_DEPTHS, start=1):
        for index in range(1, depth + 1):
            pad = 100 if (block, index) == (1, 1) else 1
            x = jax.nn.relu(_conv(layers, x, f"conv{block}_{index}", pad))
        x = pools[f"pool{block}"] = _max_pool(x, 2, 2, 0)
    for name in ("fc6", "fc7"):
        x = jax.nn.relu(_conv(layers, x, name))
    up, fusions, last = _FCN[variant]
    x = _deconv(layers, _conv(layers, x, "score_fr"), up)
    for pool, at, up in fusions:
        scale = layers.get(f"scale_{pool}", [np.ones(1, np.float32)])[0]
        score = _conv(layers, pools[pool] * scale[:, None, None], f"score_{pool}")
        x = _deconv(layers, x + _crop(score, x, at), up)
    return _crop(x, images, last)


def deeplab(layers, variant, images):
    """Return the scores of DeepLab at stride 8; `variant` is aspp or large_fov."""
    x = images - _MEAN
    for block, depth in enumerate(_DEPTHS, start=1):
        rate = 2 if block == 5 else 1
        for index in range(1, depth + 1):
            name = f"conv{block}_{index}"
            x = jax.nn.relu(_conv(layers, x, name, rate, rate))
        x = _max_pool(x, 3, 2 if block < 4 else 1, 1)
    if variant == "aspp":
        branches = ((6, "_1"), (12, "_2"), (18, "_3"), (24, "_4"))
        return sum(_branch(layers, x, rate, suffix) for rate, suffix in branches)
    # Caffe's averages count the zeros of the border.
    window, pads = (1, 1, 3, 3), [(0, 0), (0, 0), (1, 1), (1, 1)]
    mean = lax.reduce_window(x, 0.0, lax.add, window, (1, 1, 1, 1), pads) / 9
    return _branch(layers, mean, 12, "")


def _branch(layers, x, rate, suffix):
    x = jax.nn.relu(_conv(layers, x, f"fc6{suffix}", rate, rate))
    x = jax.nn.relu(_conv(layers, x, f"fc7{suffix}"))
    return _conv(layers, x, f"fc8_voc12{suffix}")


def _conv(layers, x, name, pad=0, rate=1):
    kernel, bias = layers[name]
    y = lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        [(pad, pad)] * 2,
        rhs_dilation=(rate, rate),
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
    )
    return y + bias[:, None, None]


def _deconv(layers, x, name):
    kernel = layers[name][0][:, :, ::-1, ::-1].swapaxes(0, 1)
    stride, border = kernel.shape[2] // 2, kernel.shape[2] - 1
    return lax.conv_general_dilated(
        x, kernel, (1, 1), [(border, border)] * 2, lhs_dilation=(stride, stride)
    )


def _max_pool(x, size, stride, pad):
    """Pool as Caffe does, which rounds the number of windows up."""
    edges = [(0, 0, 0)] * 2
    for side in x.shape[2:]:
        count = -(-(side + 2 * pad - size) // stride) + 1
        if pad and (count - 1) * stride >= side + pad:
            count -= 1  # no window begins behind the border
        edges.append((pad, (count - 1) * stride + size - side - pad, 0))
    x = lax.pad(x, -np.inf, edges)
    window, strides = (1, 1, size, size), (1, 1, stride, stride)
    return lax.reduce_window(x, -np.inf, lax.max, window, strides, "VALID")


def _crop(x, like, at):
    height, width = like.shape[2:]
    return x[:, :, at : at + height, at : at + width]
