"""Caffe's networks on VGG-16: their names, and the scores of their definitions."""

import jax
import numpy as np
import pytest

from jaxseg import build
from jaxseg.errors import UserError
from jaxseg.models import fcn
from tests.pretrained import caffe_nets, small

# Bilinear layers and constants, by the strides of the former.
ENLARGING = {
    "32s": {"upscore": 32},
    "16s": {"upscore2": 2, "upscore16": 16},
    "8s": {"upscore2": 2, "upscore_pool4": 2, "upscore8": 8},
}
DEEPLABS = {"aspp": "deeplab-v2-vgg16", "large_fov": "deeplab-largefov-vgg16"}


def _known(variant):
    return small.shrunk(f"fcn{variant}", **small.TINY)


def _fcn_layers(variant):
    layers = small.layers_of(_known(variant))
    for name, stride in ENLARGING[variant.partition("-")[0]].items():
        layers[name] = [_bilinear(stride)]
    if variant == "8s-atonce":
        layers["scale_pool4"] = [np.full(16, 0.01, np.float32)]
        layers["scale_pool3"] = [np.full(8, 0.0001, np.float32)]
        # Their inputs are that small, so that trained weights are large.
        layers["score_pool4"][0] *= 100
        layers["score_pool3"][0] *= 10000
    return layers


def _bilinear(stride):
    line = 1 - np.abs(np.arange(2 * stride) - stride + 0.5) / stride
    return (np.eye(3)[:, :, None, None] * np.outer(line, line)).astype(np.float32)


def _assert_scores(known, layers, reference, size, path):
    """Check our scores of a random image against a run of Caffe's definition."""
    settings, found = small.converted(known, small.caffe(path, layers))
    images = small.RNG.integers(0, 256, (1, *size, 3)).astype(np.float32)
    net = build.segmenter_net(settings)
    ours = jax.jit(net.apply)(found.variables["segmenter"], images)
    bgr = images[..., ::-1].transpose(0, 3, 1, 2)
    expected = jax.jit(reference)(bgr).transpose(0, 2, 3, 1)
    assert ours.shape == expected.shape and np.std(expected, (1, 2)).min() > 1e-2
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())
    return found


@pytest.mark.parametrize("variant, skipped", list(zip(fcn.VARIANTS, (1, 2, 3, 5))))
def test_fcn_gives_the_scores_of_its_definition(variant, skipped, tmp_path):
    layers = _fcn_layers(variant)

    def reference(images):
        return caffe_nets.fcn(layers, variant.partition("-")[0], images)

    path = tmp_path / "net"
    found = _assert_scores(_known(variant), layers, reference, (45, 34), path)
    assert len(found.skipped) == skipped


@pytest.mark.parametrize("variant", DEEPLABS)
# Long enough for the widest field of view.
@pytest.mark.parametrize("size", [(225, 50), (36, 247)])
def test_deeplab_gives_the_scores_of_its_definition(variant, size, tmp_path):
    known = small.shrunk(DEEPLABS[variant], **small.TINY)
    layers = small.layers_of(known)

    def reference(images):
        return caffe_nets.deeplab(layers, variant, images)

    found = _assert_scores(known, layers, reference, size, tmp_path / "net")
    assert not found.skipped


def test_torchs_names_of_the_same_fcn_give_the_same(tmp_path):
    layers = _fcn_layers("8s")
    tensors = {
        f"{name}.{leaf}": blob
        for name, blobs in layers.items()
        for leaf, blob in zip(("weight", "bias"), blobs)
    }
    np.savez(tmp_path / "torch.npz", **tensors)
    known = _known("8s")
    _, torch = small.converted(known, tmp_path / "torch.npz")
    _, caffe = small.converted(known, small.caffe(tmp_path / "n", layers))
    assert len(torch.skipped) == 3
    jax.tree.map(np.testing.assert_array_equal, torch.variables, caffe.variables)


@pytest.mark.parametrize("name", ["upscore8", "scale_pool3"])
def test_constants_of_fcn_that_are_not_ours_are_refused(name, tmp_path):
    layers = _fcn_layers("8s-atonce")
    layers[name] = [layers[name][0] * 1.01]
    with pytest.raises(UserError, match=f"no place for {name}/0"):
        small.converted(_known("8s-atonce"), small.caffe(tmp_path / "n", layers))


def test_old_caffe_files_keep_vectors_in_four_dimensions(tmp_path):
    layers = _fcn_layers("8s")
    path = small.caffe(tmp_path / "n", layers, old=True)
    _, found = small.converted(_known("8s"), path)
    bias = found.variables["segmenter"]["params"]["fc7"]["bias"]
    np.testing.assert_array_equal(bias, layers["fc7"][1])
