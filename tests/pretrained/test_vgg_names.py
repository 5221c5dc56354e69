"""Starting from torchvision's VGG-16, on a small one."""

import numpy as np
import pytest

from jaxseg import build, convert
from jaxseg.pretrained import catalogue
from tests.pretrained import small


@pytest.fixture
def torchvision(tmp_path):
    """A VGG-16 of torchvision with few channels, and its file."""
    known = small.shrunk("vgg16", **small.TINY)
    shapes = convert.template(catalogue.settings_of(known, 3))["segmenter"]["params"]
    body = shapes.pop("vgg16")
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    tensors = {}
    for place, name in zip(places, sorted(body), strict=True):
        kernel, bias = small.theirs(body, name)
        tensors[f"features.{place}.weight"] = kernel
        tensors[f"features.{place}.bias"] = bias
    for place, name in ((0, "fc6"), (3, "fc7"), (6, "fc8")):
        kernel, bias = small.theirs(shapes, name)
        tensors[f"classifier.{place}.weight"] = kernel.reshape(len(kernel), -1)
        tensors[f"classifier.{place}.bias"] = bias
    np.savez(tmp_path / "vgg.npz", **tensors)
    return tensors, tmp_path / "vgg.npz"


@pytest.mark.parametrize(
    "name, skipped, fresh",
    [
        ("fcn8s-imagenet", 2, 6),
        ("fcn32s-imagenet", 2, 2),
        ("deeplab-v2-imagenet", 6, 24),
    ],
)
def test_torchvisions_layers_start_a_segmenter(torchvision, name, skipped, fresh):
    tensors, path = torchvision
    settings, found = small.converted(small.shrunk(name, **small.TINY), path)
    assert (len(found.skipped), len(found.fresh)) == (skipped, fresh)
    first = found.variables["segmenter"]["params"]["vgg16"]["conv1_1"]["kernel"]
    images = small.RNG.integers(0, 256, (1, 5, 6, 3)).astype(np.float32)
    # The same first layer of images prepared by either side, but for the border.
    deviation = np.array([0.229, 0.224, 0.225])
    net = build.segmenter_net(settings)
    ours = (images - np.array(net.mean))[:, 1, 2]
    theirs = (images / 255 - np.array([0.485, 0.456, 0.406])) / deviation
    weight = tensors["features.0.weight"]
    np.testing.assert_allclose(
        ours @ first[1, 1], theirs[:, 1, 2] @ weight[:, :, 1, 1].T, rtol=1e-4, atol=1e-5
    )
