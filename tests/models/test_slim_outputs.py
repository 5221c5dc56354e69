"""Small networks against what the functions that they follow computed in TensorFlow.

data/slim_outputs.npz holds outputs of research/deeplab and research/slim of
tensorflow/models (commit 0d9ef8d3) under TensorFlow 2.15 on a CPU: of
`xception.xception` and `resnet_v1_beta.resnet_v1_beta` with the blocks below, and of
`model.multi_scale_logits` with a narrow MobileNet-V2. Their variables were set to the
numbers of `fill`, by the names of `pretrained.deeplab.TABLE`. Of 2048 channels every
64th is kept.
"""

from pathlib import Path

import jax
import numpy as np
import pytest

from jaxseg.models import deeplab_v3plus, resnet_v1, xception

STORED = np.load(Path(__file__).parent / "data" / "slim_outputs.npz")
UNITS = (2, 1, 2, 3)
# The strides of Xception-71 with few channels.
LONG = xception.LAYOUTS[71]._replace(
    entry=((8, 2), (8, 1), (8, 2), (16, 1), (16, 2)), middle=2
)
NETWORKS = {
    "xception_8": xception.Xception(LONG, 8, (1, 2, 4)),
    "xception_16": xception.Xception(LONG, 16),
    "resnet_8": resnet_v1.ResNetV1(UNITS, False, 8, (1, 2, 4)),
    "resnet_16": resnet_v1.ResNetV1(UNITS, True, 16),
    "mobilenet_8": deeplab_v3plus.DeepLabV3Plus(
        num_classes=3,
        width=0.25,
        width_divisor=1,
        output_stride=8,
        aspp_rates=(1, 2, 3),
        aspp_channels=16,
        decoder_channels=12,
    ),
}


def _image(height, width, low, high):
    values = np.random.default_rng(1).uniform(low, high, (1, height, width, 3))
    return values.astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks_give_the_numbers_of_the_source(name, fill):
    network = NETWORKS[name]
    # One side even, the other odd, none a multiple of the stride and one more.
    whole = name == "mobilenet_8"
    image = _image(50, 41, 0, 255) if whole else _image(34, 25, -1, 1)
    found = jax.jit(network.apply)(fill(network, image), image)
    if not whole:
        top = resnet_v1.TOP if name.startswith("resnet") else xception.TOP
        found = found[top][..., ::64]
    expected = STORED[name]
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * scale)
