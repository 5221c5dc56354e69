"""The tables of names of flow networks, on small checkpoints of each source."""

import jax
import numpy as np
import pytest

from jaxseg import build, convert
from jaxseg.errors import UserError
from jaxseg.runtime import weights
from tests.pretrained import small

FLOW_LEVELS = (6, 5, 4, 3, 2)


@pytest.fixture
def flow_layers():
    """All layers of a FlowNetS of two base channels, by Caffe's names."""
    settings = small.shrunk("flownet2-s-caffe", base_channels=2).settings
    shapes = convert.template(settings)["flow"]["params"]
    layers = {}
    for name in shapes:
        theirs = name
        if name.startswith("predict_flow"):
            theirs = f"Convolution{7 - int(name[-1])}"
        layers[theirs] = [
            *small.theirs(shapes, name)[:1],
            small.draw(shapes[name]["kernel"].shape[3]),
        ]
        if name.startswith(("deconv", "upsample")):
            layers[theirs][1] = np.zeros(shapes[name]["kernel"].shape[2], np.float32)
    for index in (0, 1):
        mean = small.draw(1, 3, 1, 1)
        layers[f"img{index}s_aug"] = [small.draw(1), small.draw(1, 3, 4, 5), mean]
    return layers


def test_caffe_flow_net_becomes_one_for_rgb(flow_layers, tmp_path):
    known = small.shrunk("flownet2-s-caffe", base_channels=2)
    settings, found = small.converted(known, small.caffe(tmp_path / "s", flow_layers))
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
    known = small.shrunk("flownet2-s-caffe", base_channels=2)
    flow_layers["deconv3"][1] = flow_layers["deconv3"][1] + 1
    with pytest.raises(UserError, match="no place for deconv3/1"):
        small.converted(known, small.caffe(tmp_path / "s", flow_layers))


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
    thin["FlowNets/predict_scale/biases"] = small.draw(19)
    np.savez(tmp_path / "thin.npz", **thin)
    paths = {
        "flownet2-s-caffe": small.caffe(tmp_path / "caffe", flow_layers),
        "flownet2-S": tmp_path / "torch.npz",
        "flownet2-S-tf": tmp_path / "tf.npz",
        "flownet2-s-tf": tmp_path / "thin.npz",
    }
    params = []
    for name, path in paths.items():
        _, found = small.converted(small.shrunk(name, base_channels=2), path)
        leaves = weights.flatten(found.variables["flow"]["params"])
        params.append({k: v for k, v in leaves.items() if "deconv" not in k})
    for other in params[1:]:
        jax.tree.map(np.testing.assert_array_equal, other, params[0])
