"""FlowNetS of FlowNet 2.0 with the scale field of Deep Feature Flow.

B examples, H x W pixels, h x w the grid at stride 4, C classes. "FlowNet2-s" (thin)
has 24 base channels, "FlowNet2-S" (wide) 64. Sources: lmb-freiburg/flownet2
(FlowNet2-S prototxt), NVIDIA/flownet2-pytorch (models.py, networks/FlowNetS.py),
XUSean0118/DVSNet (model/flownetmodel.py: thin net, scale), msracver/Deep-Feature-Flow
(dff_rfcn/symbols/resnet_v1_101_flownet_rfcn.py: scale at half the resolution).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.models import layers, pair_conv
from jaxseg.ops import fusion, resize, warp
from jaxseg.types import Array

# The network's unit of flow in pixels of its input; at stride 4 that is 5 of the grid.
FLOW_UNIT = 20.0
NORMALISATIONS = ("fixed", "pair", "stored")
HEADS = ("dvsnet", "dff")


class FlowOutput(NamedTuple):
    """What one pass yields: where to look, how much to trust it, how much changed."""

    flow: Array  # [B, h, w, 2] (x, y), pixels of the grid, current to key frame
    scale: Array | None  # [B, h, w, C], None without classes
    # [B, h6, w6, c6], conv6_1 after its LeakyReLU, of the network's dtype
    deviation: Array


def propagate(motion: FlowOutput, features: Array, *, border: str = "clamp") -> Array:
    """Warp key features [h, w, C] by the flow and multiply by the scale field, if any.

    Args:
      motion: of one pair, no batch axis; it is resized to the grid of the features.
      border: see `warp.warp`.
    """
    grid = features.shape[:2]
    flow = resize.resize_flow(motion.flow, grid)
    warped = warp.warp(features, flow, border)
    if motion.scale is not None:
        warped = warped * resize.resize_bilinear(motion.scale, grid)
    return fusion.materialise(warped)


def propagate_on_flow_grid(
    motion: FlowOutput, features: Array, *, rule: str, border: str = "clamp"
) -> Array:
    """Warp and scale key features [H, W, C] on the grid of the flow: [h, w, C].

    As DVSNet does (tools/flow_utils.py, inference.py): the features are brought to the
    flow, not the flow to the features.

    Args:
      motion: of one pair, no batch axis.
      rule: of `resize.resize_bilinear`, "legacy" in DVSNet.
      border: see `warp.warp`.
    """
    features = resize.resize_bilinear(features, motion.flow.shape[:2], rule)
    warped = warp.warp(features, motion.flow, border)
    if motion.scale is not None:
        warped = warped * motion.scale
    return fusion.materialise(warped)


def full_flow(
    flow: Array,
    size: tuple[int, int],
    rule: str = "half_pixel",
    input_size: tuple[int, int] | None = None,
    stride: int = 4,
) -> Array:
    """Return the flow [..., H, W, 2] of every pixel of an image, in its pixels.

    Args:
      flow: [..., h, w, 2] of a `FlowOutput`.
      size: (H, W) of the image.
      rule: of `resize.resize_bilinear`. NVIDIA's nets and Caffe's have "half_pixel",
        sampepose/flownet2-tf "corners" (as had NVIDIA's on torch before 0.4).
      input_size: at which F saw the image, if not at its own (Caffe brings it to
        multiples of 64).
      stride: of the flow in F's input, 8 with the head "dff".
    """
    height, width = input_size or size
    factors = jnp.array([stride * size[1] / width, stride * size[0] / height])
    return resize.resize_bilinear(flow * factors.astype(flow.dtype), size, rule)


def _check(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{field} {value!r}; expected one of: {', '.join(known)}")


def _small_init(rng, shape, dtype=jnp.float32) -> Array:
    return 0.01 * layers.he_init(rng, shape, dtype)


def _bilinear_init(rng, shape, dtype=jnp.float32) -> Array:
    line = np.array([0.25, 0.75, 0.75, 0.25])
    plane = np.outer(line, line)[:, :, None, None] * np.eye(shape[2])
    return jnp.asarray(plane, dtype)


class FlowNetS(nn.Module):
    """Estimate flow, scale field and deviation from a pair of frames.

    Frames are RGB in 0..255 of any size; in the end they are divided by 255. What is
    taken off first says `normalisation`:

    "fixed": `mean`, an RGB color. DVSNet and flownet2-tf take none off; Deep Feature
      Flow 123.15, 115.90, 103.06 (lib/utils/image.py), with which training from nothing
      gets going sooner.
    "pair": the mean of every channel over both frames (NVIDIA).
    "stored": a mean of the current and one of the key frames among the variables, in
      parts of 255 (Caffe). It is not trained.

    `num_classes` None leaves out the scale head; its channels may be features instead
    of classes. `head` "dff" has it and the flow at half the resolution, and a scale
    whose bias stays at one; `halve_input` averages 2 x 2 pixels of frames first. Deep
    Feature Flow has both. `deconv_bias` is for weights of the PyTorch flavour.
    `dtype` is that of maps and of the deviation; flow and scale are float32.
    """

    HEAD = ("predict_scale",)  # what depends on the number of classes

    base_channels: int = 24
    num_classes: int | None = 5
    deconv_bias: bool = False
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    normalisation: str = "fixed"
    head: str = "dvsnet"
    halve_input: bool = False
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        base = self.base_channels
        _check("normalisation", self.normalisation, NORMALISATIONS)
        _check("head", self.head, HEADS)

        def conv(multiple, kernel_size, stride):
            return layers.Conv(multiple * base, kernel_size, stride, padding=None)

        def deconv(multiple):
            return layers.Deconv(multiple * base, self.deconv_bias)

        def head():
            return layers.Conv(2, padding=None, kernel_init=_small_init)

        def upsample():
            return layers.Deconv(2, kernel_init=_bilinear_init)

        self.conv1 = pair_conv.PairConv(base, 7, 2)
        self.conv2 = conv(2, 5, 2)
        self.conv3, self.conv3_1 = conv(4, 5, 2), conv(4, 3, 1)
        self.conv4, self.conv4_1 = conv(8, 3, 2), conv(8, 3, 1)
        self.conv5, self.conv5_1 = conv(8, 3, 2), conv(8, 3, 1)
        self.conv6, self.conv6_1 = conv(16, 3, 2), conv(16, 3, 1)
        self.deconv5, self.deconv4 = deconv(8), deconv(4)
        self.deconv3, self.deconv2 = deconv(2), deconv(1)
        self.predict_flow6, self.predict_flow5 = head(), head()
        self.predict_flow4, self.predict_flow3 = head(), head()
        self.predict_flow2 = head()
        self.upsample_flow6to5, self.upsample_flow5to4 = upsample(), upsample()
        self.upsample_flow4to3, self.upsample_flow3to2 = upsample(), upsample()
        if self.num_classes is not None:
            is_dff = self.head == "dff"
            self.predict_scale = layers.Conv(
                self.num_classes,
                1 if is_dff else 3,
                use_bias=not is_dff,
                padding=None,
                kernel_init=nn.initializers.zeros,
                bias_init=nn.initializers.ones,
            )
        if self.normalisation == "stored":
            self.means = [
                self.variable("batch_stats", f"{role}_mean", jnp.zeros, 3)
                for role in ("current", "key")
            ]

    def __call__(self, current: Array, key: Array) -> FlowOutput:
        """Compare `current` with `key`, both [B, H, W, 3]."""
        return self._decode(self._encode(self._join(current, key)))

    def embed(self, frames: Array) -> Array:
        """Return conv1's answer to frames [B, H, W, 3] in either role, [B, h1, w1, 2c].

        The first convolution is linear in the pair, so its halves for the current and
        for the key frame (c channels each, no bias yet) can be computed once a frame.
        Raises ValueError where a frame's preparation depends on the other one.
        """
        if not self.prepares_alone:
            raise ValueError("frames normalised in pairs cannot be embedded one by one")
        return self.conv1.halves(*self._prepare(frames, frames), dtype=self.dtype)

    @property
    def prepares_alone(self) -> bool:
        """Say whether a frame's preparation is its own, so that `embed` works."""
        return self.normalisation != "pair"

    def compare(self, current: Array, key: Array) -> FlowOutput:
        """Compare two frames given as `embed` returned them; equals `__call__`."""
        channels = current.shape[-1] // 2
        joined = current[..., :channels] + key[..., channels:]
        joined = joined + self.conv1.offset()
        return self._decode(self._encode(joined.astype(self.dtype)))

    def pyramid(self, current: Array, key: Array) -> list[Array]:
        """Return the flow of every level, coarsest first, for training from nothing.

        Five arrays [B, h_l, w_l, 2] at strides 64 to 4, each in pixels of its own grid.
        FlowNet supervises all of them; from the finest alone the coarse layers, and so
        the deviation, learn next to nothing.
        """
        flows, _ = self._refine_all(self._encode(self._join(current, key)))
        strides = (64, 32, 16, 8, self._stride)
        return [flow * (FLOW_UNIT / s) for flow, s in zip(flows, strides, strict=True)]

    def _decode(self, skips: dict[str, Array]) -> FlowOutput:
        flows, x = self._refine_all(skips)
        scale = None if self.num_classes is None else _head(self.predict_scale, x)
        if scale is not None and self.head == "dff":
            scale = 1.0 + scale
        return FlowOutput(flows[-1] * (FLOW_UNIT / self._stride), scale, skips["6"])

    def _refine_all(self, skips: dict[str, Array]) -> tuple[list[Array], Array]:
        """Return the raw flow of every level and the finest feature map."""
        x = skips["6"]
        flows = [_head(self.predict_flow6, x)]
        x = self._refine(x, flows[-1], skips["5"], self.deconv5, self.upsample_flow6to5)
        flows.append(_head(self.predict_flow5, x))
        x = self._refine(x, flows[-1], skips["4"], self.deconv4, self.upsample_flow5to4)
        flows.append(_head(self.predict_flow4, x))
        x = self._refine(x, flows[-1], skips["3"], self.deconv3, self.upsample_flow4to3)
        flows.append(_head(self.predict_flow3, x))
        x = self._refine(x, flows[-1], skips["2"], self.deconv2, self.upsample_flow3to2)
        if self.head == "dff":
            x = resize.halve(x)
        flows.append(_head(self.predict_flow2, x))
        return flows, x

    def deviation(self, current: Array, key: Array) -> Array:
        """Return the deviation [B, h6, w6, c6] alone, without running the decoder."""
        return self._encode(self._join(current, key))["6"]

    def prepare(self, current: Array, key: Array) -> Array:
        """Return what enters conv1: the normalised pair [B, H, W, 6]."""
        return jnp.concatenate(self._prepare(current, key), axis=-1)

    @property
    def _stride(self) -> int:
        return 8 if self.head == "dff" else 4

    def _join(self, current: Array, key: Array) -> Array:
        return self.conv1(self.prepare(current, key).astype(self.dtype))

    def _prepare(self, current: Array, key: Array) -> tuple[Array, Array]:
        """Return both frames normalised; the same array where they are one and so are.

        A frame given in both places is prepared once for `embed`.
        """
        frames = [layers.images_to_float(frame) for frame in (current, key)]
        if self.halve_input:
            frames = [resize.halve(frame) for frame in frames]
        if self.normalisation == "stored":
            means = [jax.lax.stop_gradient(mean.value) for mean in self.means]
            return tuple(x / 255.0 - mean for x, mean in zip(frames, means))
        mean = jnp.asarray(self.mean)
        if self.normalisation == "pair":
            mean = sum(x.mean((1, 2), keepdims=True) for x in frames) / 2
        first = (frames[0] - mean) / 255.0
        return first, first if current is key else (frames[1] - mean) / 255.0

    def _encode(self, x: Array) -> dict[str, Array]:
        act = layers.leaky_relu
        x = act(x)
        skips = {"2": act(self.conv2(x))}
        skips["3"] = act(self.conv3_1(act(self.conv3(skips["2"]))))
        skips["4"] = act(self.conv4_1(act(self.conv4(skips["3"]))))
        skips["5"] = act(self.conv5_1(act(self.conv5(skips["4"]))))
        skips["6"] = act(self.conv6_1(act(self.conv6(skips["5"]))))
        return skips

    def _refine(self, x, flow, skip, deconv, upsample) -> Array:
        size = skip.shape[1:3]
        x = layers.leaky_relu(deconv(x, size))
        flow = upsample(flow, size).astype(x.dtype)
        return jnp.concatenate([skip, x, flow], axis=-1)


def _head(layer: layers.Conv, x: Array) -> Array:
    """Return what a last layer makes of `x`, in float32."""
    return layer(x.astype(jnp.float32))
