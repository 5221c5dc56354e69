"""Small networks of every architecture, and variables for them."""

import jax
import numpy as np

from jaxseg.benchmark.peers import folding, graph
from jaxseg.models import (
    deeplab_fast,
    deeplab_v2,
    deeplab_v3plus,
    fcn,
    flownet,
    resnet_v1,
    vgg,
    xception,
)

TINY_XCEPTION = xception.Layout(((8, 2), (8, 2), (16, 2)), 1, "")
# Even sides have other pads than odd ones.
SEGMENTERS = {
    "mobilenet": (deeplab_v3plus.DeepLabV3Plus(width=0.25, aspp_channels=8), (33, 40)),
    "mobilenet without decoder": (
        deeplab_v3plus.DeepLabV3Plus(width=0.25, decoder=False, aspp_rates=()),
        (40, 33),
    ),
    "resnet": (resnet_v1.ResNetV1((1, 2, 1, 3)), (33, 24)),
    "xception": (xception.Xception(TINY_XCEPTION), (24, 33)),
    "DeepLab-V2": (deeplab_v2.DeepLabV2(width=0.1, hidden=8), (32, 41)),
    "LargeFOV": (deeplab_v2.DeepLabV2(3, "large_fov", 0.1, 8), (41, 32)),
    "FCN": (fcn.FCN(width=0.1, hidden=8), (37, 32)),
    "FCN at once": (fcn.FCN(variant="8s-atonce", width=0.1, hidden=8), (33, 33)),
    "VGG": (vgg.Classifier(num_classes=6, width=0.1, hidden=8), (70, 33)),
    "DeepLab-Fast": (deeplab_fast.DeepLabFast(3, 0.1, (1, 2, 2, 3)), (48, 33)),
}
FLOWS = {
    "DVSNet": flownet.FlowNetS(4, 3),
    "NVIDIA": flownet.FlowNetS(4, None, True, normalisation="pair"),
    "Caffe": flownet.FlowNetS(4, None, normalisation="stored"),
    "Deep Feature Flow": flownet.FlowNetS(4, 6, head="dff", halve_input=True),
}


def segmenter(name):
    """Return a segmenter, or a backbone with an image as it takes them."""
    net, size = SEGMENTERS[name]
    is_backbone = isinstance(net, resnet_v1.ResNetV1 | xception.Xception)
    image = frames(*size)
    return net, (image.astype(np.float32) / 128 - 1 if is_backbone else image)


def variables_of(net, *inputs):
    """Return variables of which none is what would make its layer do nothing.

    Initializers would take most of the tests' time.
    """
    rng = np.random.default_rng(1)

    def draw(leaf):
        if len(leaf.shape) == 1:  # a variance too, so above 0
            return rng.uniform(0.2, 1.2, leaf.shape).astype(np.float32)
        deviation = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return rng.normal(0, deviation, leaf.shape).astype(np.float32)

    return jax.tree.map(draw, jax.eval_shape(net.init, jax.random.key(0), *inputs))


def frames(*size, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype(dtype)


def folded(apply, variables, *inputs):
    return folding.fold(graph.trace(apply, variables, inputs))


def operations(apply, variables, *inputs):
    return [x.op for x in folded(apply, variables, *inputs).nodes]
