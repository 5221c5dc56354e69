"""The tables of names, on small checkpoints with the names of their authors."""

import jax
import numpy as np
import pytest
from jax import lax

from jaxseg import build, convert
from jaxseg.errors import UserError
from jaxseg.pretrained import catalogue, rules
from jaxseg.pretrained.readers import open as opening
from jaxseg.runtime import weights
from tests.pretrained import caffe_writer

RNG = np.random.default_rng(0)
TINY = {"width": 1 / 32, "hidden": 4}
FLOW_LEVELS = (6, 5, 4, 3, 2)


def _shrunk(name, **fields):
    """Return a known model with fewer channels."""
    known = catalogue.find(name)
    part = next(iter(known.settings))
    settings = known.settings | {part: known.settings[part] | fields}
    return known._replace(settings=settings)


def _draw(*shape):
    scale = 1 if len(shape) == 1 else np.sqrt(2 / np.prod(shape[1:]))
    return (scale * RNG.normal(size=shape)).astype(np.float32)


def _converted(known, path):
    settings = catalogue.settings_of(known, 3 if known.classes else None)
    found = opening.open_checkpoint(path)
    shapes = convert.template(settings)
    return settings, rules.convert(found, known.table, shapes, known.fresh)


def _theirs(shapes, name):
    """Return random weights [O, I, kh, kw] and a bias for a layer of ours."""
    kernel = shapes[name]["kernel"].shape
    return [_draw(*(kernel[i] for i in (3, 2, 0, 1))), _draw(kernel[3])]


@pytest.fixture
def flow_layers():
    """All layers of a FlowNetS of two base channels, by Caffe's names."""
    settings = _shrunk("flownet2-s-caffe", base_channels=2).settings
    shapes = convert.template(settings)["flow"]["params"]
    layers = {}
    for name in shapes:
        theirs = name
        if name.startswith("predict_flow"):
            theirs = f"Convolution{7 - int(name[-1])}"
        layers[theirs] = [
            *_theirs(shapes, name)[:1],
            _draw(shapes[name]["kernel"].shape[3]),
        ]
        if name.startswith(("deconv", "upsample")):
            layers[theirs][1] = np.zeros(shapes[name]["kernel"].shape[2], np.float32)
    for index in (0, 1):
        mean = _draw(1, 3, 1, 1)
        layers[f"img{index}s_aug"] = [_draw(1), _draw(1, 3, 4, 5), mean]
    return layers


def _caffe(path, layers, **options):
    path.write_bytes(caffe_writer.net(layers, **options))
    return path


def test_caffe_flow_net_becomes_one_for_rgb(flow_layers, tmp_path):
    known = _shrunk("flownet2-s-caffe", base_channels=2)
    settings, found = _converted(known, _caffe(tmp_path / "s", flow_layers))
    flow = found.variables["flow"]
    kernel, theirs = flow["params"]["conv1"]["kernel"], flow_layers["conv1"][0]
    np.testing.assert_array_equal(kernel[..., 0, :], theirs[:, 2].transpose(1, 2, 0))
    np.testing.assert_array_equal(kernel[..., 5, :], theirs[:, 3].transpose(1, 2, 0))
    for index, role in enumerate(("current", "key")):
        np.testing.assert_array_equal(
            flow["batch_stats"][f"{role}_mean"],
            flow_layers[f"img{index}s_aug"][2][0, ::-1, 0, 0],
        )
    for level in FLOW_LEVELS:
        np.testing.assert_array_equal(
            flow["params"][f"predict_flow{level}"]["bias"],
            flow_layers[f"Convolution{7 - level}"][1],
        )
    # Eight zero biases, and two blobs of each mean.
    assert len(found.skipped) == 12
    net = build.flow_net(settings)
    assert net.normalisation == "stored"


def test_biases_of_caffe_that_are_not_zero_are_refused(flow_layers, tmp_path):
    known = _shrunk("flownet2-s-caffe", base_channels=2)
    flow_layers["deconv3"][1] = flow_layers["deconv3"][1] + 1
    with pytest.raises(UserError, match="no place for deconv3/1"):
        _converted(known, _caffe(tmp_path / "s", flow_layers))


def test_the_same_flow_net_of_caffe_torch_and_tensorflow_is_the_same(
    flow_layers, tmp_path
):
    torch, tensorflow = {}, {}
    for name, blobs in flow_layers.items():
        if name.endswith("aug"):
            continue
        kernel, bias = blobs
        if name.startswith("Convolution"):
            name = f"predict_flow{7 - int(name[-1])}"
        scope = f"FlowNetS/{name}"
        tensorflow[f"{scope}/weights"] = kernel.transpose(2, 3, 1, 0)
        if name.startswith("upsample"):
            name = name.replace("upsample", "upsampled").replace("to", "_to_")
            torch[f"{name}.weight"] = kernel
            continue
        inner = "" if name.startswith("predict") else ".0"
        order = [2, 1, 0, 5, 4, 3] if name == "conv1" else slice(None)
        torch[f"{name}{inner}.weight"] = kernel[:, order]
        torch[f"{name}{inner}.bias"] = bias
        if not name.startswith("deconv"):
            tensorflow[f"{scope}/biases"] = bias
    tensorflow["FlowNetS/conv1/weights/Adam"] = tensorflow["FlowNetS/conv1/weights"]
    tensorflow["global_step"] = np.int64(3)
    np.savez(tmp_path / "torch.npz", **torch)
    np.savez(tmp_path / "tf.npz", **tensorflow)
    thin = {k.replace("FlowNetS", "FlowNets"): x for k, x in tensorflow.items()}
    thin["FlowNets/predict_scale/biases"] = _draw(19)
    np.savez(tmp_path / "thin.npz", **thin)
    paths = {
        "flownet2-s-caffe": _caffe(tmp_path / "caffe", flow_layers),
        "flownet2-S": tmp_path / "torch.npz",
        "flownet2-S-tf": tmp_path / "tf.npz",
        "flownet2-s-tf": tmp_path / "thin.npz",
    }
    params = []
    for name, path in paths.items():
        _, found = _converted(_shrunk(name, base_channels=2), path)
        leaves = weights.flatten(found.variables["flow"]["params"])
        params.append({k: v for k, v in leaves.items() if "deconv" not in k})
    for other in params[1:]:
        jax.tree.map(np.testing.assert_array_equal, other, params[0])


def _fcn_layers(variant):
    settings = catalogue.settings_of(_shrunk("fcn8s", variant=variant, **TINY), 3)
    shapes = convert.template(settings)["segmenter"]["params"]
    shapes = {**shapes.pop("vgg16"), **shapes}
    layers = {name: _theirs(shapes, name) for name in shapes}
    for name, stride in (("upscore2", 2), ("upscore_pool4", 2), ("upscore8", 8)):
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


def _caffe_fcn8s(layers, images):
    """Run FCN-8s as its prototxt says, on [B, 3, H, W] in BGR."""

    def conv(x, name, pad):
        numbers = ("NCHW", "OIHW", "NCHW")
        kernel, bias = layers[name]
        pads = [(pad, pad)] * 2
        y = lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=numbers)
        return y + bias[:, None, None]

    def deconv(x, name):
        kernel = layers[name][0][:, :, ::-1, ::-1].swapaxes(0, 1)
        stride, border = kernel.shape[2] // 2, kernel.shape[2] - 1
        return lax.conv_general_dilated(
            x, kernel, (1, 1), [(border, border)] * 2, lhs_dilation=(stride, stride)
        )

    def crop(x, like, at):
        height, width = like.shape[2:]
        return x[:, :, at : at + height, at : at + width]

    x, pools = images - np.array([104.00699, 116.66877, 122.67892])[:, None, None], []
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1):
        for index in range(1, depth + 1):
            pad = 100 if (block, index) == (1, 1) else 1
            x = jax.nn.relu(conv(x, f"conv{block}_{index}", pad))
        # Windows may begin inside and end outside.
        odd = [(0, 0, 0)] * 2 + [(0, side % 2, 0) for side in x.shape[2:]]
        x = lax.pad(x, -np.inf, odd)
        x = lax.reduce_window(x, -np.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        pools.append(x)
    for name in ("fc6", "fc7"):
        x = jax.nn.relu(conv(x, name, 0))
    x = deconv(conv(x, "score_fr", 0), "upscore2")
    for name, pool, at, up in (
        ("pool4", pools[3], 5, "upscore_pool4"),
        ("pool3", pools[2], 9, "upscore8"),
    ):
        scale = layers.get(f"scale_{name}", [np.ones(1, np.float32)])[0]
        score = conv(pool * scale[:, None, None], f"score_{name}", 0)
        x = deconv(x + crop(score, x, at), up)
    return crop(x, images, 31)


@pytest.mark.parametrize("variant", ["8s", "8s-atonce"])
def test_caffe_fcn_gives_the_scores_of_its_definition(variant, tmp_path):
    name = "fcn8s" if variant == "8s" else "fcn8s-atonce"
    layers = _fcn_layers(variant)
    settings, found = _converted(_shrunk(name, **TINY), _caffe(tmp_path / "n", layers))
    assert len(found.skipped) == (3 if variant == "8s" else 5)
    images = RNG.integers(0, 256, (1, 45, 34, 3)).astype(np.float32)
    net = build.segmenter_net(settings)
    ours = jax.jit(net.apply)(found.variables["segmenter"], images)
    bgr = images[..., ::-1].transpose(0, 3, 1, 2)
    expected = jax.jit(lambda x: _caffe_fcn8s(layers, x))(bgr).transpose(0, 2, 3, 1)
    assert ours.shape == (1, 45, 34, 3) and np.std(expected) > 1e-2
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


def test_torchs_names_of_the_same_fcn_give_the_same(tmp_path):
    layers = _fcn_layers("8s")
    tensors = {
        f"{name}.{leaf}": blob
        for name, blobs in layers.items()
        for leaf, blob in zip(("weight", "bias"), blobs)
    }
    np.savez(tmp_path / "torch.npz", **tensors)
    known = _shrunk("fcn8s", **TINY)
    _, torch = _converted(known, tmp_path / "torch.npz")
    _, caffe = _converted(known, _caffe(tmp_path / "n", layers))
    assert len(torch.skipped) == 3
    jax.tree.map(np.testing.assert_array_equal, torch.variables, caffe.variables)


@pytest.mark.parametrize("name", ["upscore8", "scale_pool3"])
def test_constants_of_fcn_that_are_not_ours_are_refused(name, tmp_path):
    layers = _fcn_layers("8s-atonce")
    layers[name] = [layers[name][0] * 1.01]
    with pytest.raises(UserError, match=f"no place for {name}/0"):
        _converted(_shrunk("fcn8s-atonce", **TINY), _caffe(tmp_path / "n", layers))


def test_old_caffe_files_keep_vectors_in_four_dimensions(tmp_path):
    layers = _fcn_layers("8s")
    path = _caffe(tmp_path / "n", layers, old=True)
    _, found = _converted(_shrunk("fcn8s", **TINY), path)
    bias = found.variables["segmenter"]["params"]["fc7"]["bias"]
    np.testing.assert_array_equal(bias, layers["fc7"][1])


@pytest.mark.parametrize("variant", ["aspp", "large_fov"])
def test_caffe_deeplab_v2_has_its_layers(variant, tmp_path):
    name = {"aspp": "deeplab-v2-vgg16", "large_fov": "deeplab-largefov-vgg16"}[variant]
    known = _shrunk(name, **TINY)
    shapes = convert.template(catalogue.settings_of(known, 3))["segmenter"]["params"]
    shapes = {**shapes.pop("vgg16"), **shapes}
    layers = {name: _theirs(shapes, name) for name in shapes}
    _, found = _converted(known, _caffe(tmp_path / "n", layers))
    last = "fc8_voc12_4" if variant == "aspp" else "fc8_voc12"
    np.testing.assert_array_equal(
        found.variables["segmenter"]["params"][last]["kernel"][0, 0],
        layers[last][0][:, :, 0, 0].T,
    )


@pytest.fixture
def torchvision(tmp_path):
    """A VGG-16 of torchvision with few channels, and its file."""
    known = _shrunk("vgg16", **TINY)
    shapes = convert.template(catalogue.settings_of(known, 3))["segmenter"]["params"]
    body = shapes.pop("vgg16")
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    tensors = {}
    for place, name in zip(places, sorted(body), strict=True):
        kernel, bias = _theirs(body, name)
        tensors[f"features.{place}.weight"] = kernel
        tensors[f"features.{place}.bias"] = bias
    for place, name in ((0, "fc6"), (3, "fc7"), (6, "fc8")):
        kernel, bias = _theirs(shapes, name)
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
    settings, found = _converted(_shrunk(name, **TINY), path)
    assert (len(found.skipped), len(found.fresh)) == (skipped, fresh)
    first = found.variables["segmenter"]["params"]["vgg16"]["conv1_1"]["kernel"]
    images = RNG.integers(0, 256, (1, 5, 6, 3)).astype(np.float32)
    # The same first layer of images prepared by either side, but for the border.
    deviation = np.array([0.229, 0.224, 0.225])
    net = build.segmenter_net(settings)
    ours = (images - np.array(net.mean))[:, 1, 2]
    theirs = (images / 255 - np.array([0.485, 0.456, 0.406])) / deviation
    weight = tensors["features.0.weight"]
    np.testing.assert_allclose(
        ours @ first[1, 1], theirs[:, 1, 2] @ weight[:, :, 1, 1].T, rtol=1e-4, atol=1e-5
    )
