"""`jaxseg convert` from the command line, on files in the formats of their authors."""

import hashlib

import jax
import numpy as np
import pytest
import safetensors

from jaxseg import build, convert, model_file
from jaxseg.cli import main
from jaxseg.models import parameters
from jaxseg.pretrained import catalogue

NAME = "deeplab-mobilenetv2"
NORMS = (
    ("scale", "gamma"),
    ("mean", "moving_mean"),
    ("var", "moving_variance"),
)


@pytest.mark.parametrize("name", catalogue.MODELS)
def test_catalogue_states_the_size_of_the_network(name):
    known = catalogue.MODELS[name]
    shapes = convert.template(catalogue.settings_of(known, None))
    found = sum(parameters.count_parameters(tree) for tree in shapes.values())
    assert found == known.parameters


@pytest.fixture(scope="module")
def theirs():
    """Every tensor of the released MobileNet-V2 DeepLab, by TensorFlow's names."""
    settings = catalogue.settings_of(catalogue.find(NAME), 3)
    shapes = convert.template(settings)["segmenter"]
    arrays = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(shapes)[0]:
        _, *modules, name = (key.key for key in path)
        if modules[0] == "aspp":
            modules = modules[1:]
        value = np.random.default_rng(len(arrays)).normal(size=leaf.shape)
        if name == "kernel":
            depthwise = modules[-1].startswith("depthwise")
            name = "depthwise_weights" if depthwise else "weights"
            value = value.transpose(0, 1, 3, 2) if depthwise else value
        elif name == "bias":
            name = "beta" if modules[-1] == "BatchNorm" else "biases"
        else:
            name = dict(NORMS)[name]
        arrays["/".join([*modules, name])] = value.astype(np.float32)
    return arrays | {"global_step": np.int64(30_000)}


@pytest.fixture
def run(capsys):
    def command(*arguments):
        code = main.main(["convert", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def test_a_converted_file_stands_for_a_run_folder(theirs, tmp_path, run):
    path, out = tmp_path / "model.npz", tmp_path / "deep" / "n.safetensors"
    np.savez(path, **theirs)
    code, said, _ = run(path, out, "--model", NAME, "--classes", 3)
    assert code == 0 and "left out: global_step" in said
    model = model_file.load(out, ["segmenter"])
    kernel = model.variables["segmenter"]["params"]["MobilenetV2"]["Conv"]["kernel"]
    np.testing.assert_array_equal(kernel, theirs["MobilenetV2/Conv/weights"])
    assert build.segmenter_net(model.settings).num_classes == 3
    with safetensors.safe_open(out, "numpy") as file:
        said = file.metadata()
    assert said["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert said["source"] == "model.npz" and said["model"] == NAME
    assert "Apache-2.0" in said["licence"]


def test_what_imagenet_does_not_teach_starts_anew(theirs, tmp_path, run):
    path, out = tmp_path / "model.npz", tmp_path / "n.safetensors"
    backbone = {n: x for n, x in theirs.items() if n.startswith("MobilenetV2/")}
    others = ("Conv_1/weights", "Logits/Conv2d_1c_1x1/biases", "Conv/weights/RMSProp")
    left_out = {f"MobilenetV2/{name}": np.ones(3, np.float32) for name in others}
    np.savez(path, **backbone, **left_out)
    name = "deeplab-mobilenetv2-imagenet"
    code, said, _ = run(path, out, "--model", name, "--classes", 3)
    assert code == 0 and f"left out: {', '.join(left_out)}" in said
    assert "untrained: segmenter/batch_stats/aspp/aspp0/BatchNorm/mean" in said
    params = model_file.load(out, ["segmenter"]).variables["segmenter"]["params"]
    kernel = params["MobilenetV2"]["Conv"]["kernel"]
    np.testing.assert_array_equal(kernel, theirs["MobilenetV2/Conv/weights"])
    assert params["logits"]["semantic"]["kernel"].shape == (1, 1, 256, 3)
    assert 0.005 < params["logits"]["semantic"]["kernel"].std() < 0.015
    assert not params["logits"]["semantic"]["bias"].any()


def test_a_mismatch_prints_both_sides_and_writes_nothing(theirs, tmp_path, run):
    path, out = tmp_path / "model.npz", tmp_path / "n.safetensors"
    arrays = dict(theirs)
    arrays["decoder/extra/weights"] = arrays.pop("MobilenetV2/Conv/weights")
    np.savez(path, **arrays)
    code, _, error = run(path, out, "--model", NAME, "--classes", 3)
    assert code == 2 and not out.exists()
    assert "nothing for segmenter/params/MobilenetV2/Conv/kernel" in error
    assert "no place for decoder/extra/weights [3, 3, 3, 32]" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.npz", "o", "--model", NAME), "there is no file"),
        (("none.npz", "o", "--model", "vgg99"), "no model 'vgg99'; expected one of"),
        (("none.npz", "o"), "convert needs a checkpoint"),
        (("none.npz", "o", "--model", NAME, "--classes", 0), "--classes is 0"),
    ],
)
def test_mistakes_are_named(arguments, message, run):
    code, _, error = run(*arguments)
    assert code == 2 and message in error and error.count("\n") == 1


def test_list_shows_every_model(run):
    code, said, _ = run("--list")
    assert code == 0
    for name, known in catalogue.MODELS.items():
        assert name in said and f"{known.parameters:,}" in said
