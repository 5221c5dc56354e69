"""The recipes of configs/finetune.py fit the networks that `jaxseg convert` writes."""

import pytest

from jaxseg import build
from jaxseg.errors import UserError
from jaxseg.learning import stages, start
from jaxseg.models import parameters
from jaxseg.pretrained import catalogue
from jaxseg.runtime import config, weights

MODELS = (
    "deeplab-xception65",
    "deeplab-mobilenetv2",
    "deeplab-mobilenetv2-decoder",
    "deeplab-resnet50-beta-imagenet",
    "fcn8s-atonce",
    "deeplab-v2-imagenet",
    "deeplab-largefov-imagenet",
)
COUNTS = {  # with 5 classes
    "deeplab-xception65": 41_051_301,
    "deeplab-mobilenetv2": 2_109_445,
    "deeplab-resnet50-beta-imagenet": 26_815_797,
}


def load(model, data, *changes):
    loaded = config.load_config(f"configs/finetune.py:{model},{data}", changes)
    return config.to_dict(loaded)


def leaves(settings):
    shapes = weights.flatten(build.shapes(settings, "segmenter"))
    return {name: leaf.shape for name, leaf in shapes.items()}


@pytest.mark.parametrize("model", MODELS)
def test_a_converted_file_fits_but_for_its_classifier(model):
    settings = {"segmenter": load(model, "vw300")["segmenter"]}
    known = catalogue.settings_of(catalogue.find(model), 21)
    theirs, ours = leaves(known), leaves(settings)
    head = build.head_modules(settings, "segmenter")
    differ = {name for name, _ in ours.items() ^ theirs.items()}
    assert differ and all(set(name.split("/")) & set(head) for name in differ)
    start._check_meaning(settings, known, "segmenter", "file")  # the same input too
    if model in COUNTS:
        shapes = build.shapes(settings, "segmenter")
        assert parameters.count_parameters(shapes) == COUNTS[model]


@pytest.mark.parametrize("data", ["vw300", "cityscapes"])
@pytest.mark.parametrize("model", MODELS)
def test_every_recipe_is_whole(model, data):
    found = load(model, data)
    stages.check(found)
    stages._optimizer(found, ("logits",))  # refuses options it does not know
    assert found["init_from"] == f"weights/{model}.safetensors" and found["new_head"]
    classes = {"vw300": 5, "cityscapes": 19}[data]
    assert found["segmenter"]["num_classes"] == classes


def test_another_name_is_refused_with_the_ones_there_are():
    with pytest.raises(UserError, match="vgg99,vw300.*deeplab-xception65.*cityscapes"):
        load("vgg99", "vw300")


def test_settings_are_the_published_ones():
    xception = load("deeplab-xception65", "vw300")
    group = xception["train"]
    assert (group["optimizer"], group["schedule"], group["steps"]) == (
        *("sgd", "poly"),
        30_000,
    )
    assert (group["learning_rate"], group["momentum"]) == (7e-3, 0.9)
    assert (group["weight_decay"], group["bias_multiplier"]) == (4e-5, 2.0)
    assert xception["freeze_batch_norm_below"] == 12
    resnet = load("deeplab-resnet50-beta-imagenet", "vw300")
    assert (resnet["train"]["learning_rate"], resnet["train"]["weight_decay"]) == (
        1e-2,
        1e-4,
    )
    assert resnet["segmenter"]["multi_grid"] == [1, 2, 4]
    vgg = load("deeplab-v2-imagenet", "vw300")["train"]
    assert (vgg["learning_rate"], vgg["weight_decay"]) == (1e-3, 5e-4)
    assert (vgg["bias_multiplier"], vgg["head_multiplier"]) == (2.0, 10.0)


@pytest.mark.parametrize("size", [513, 321])
def test_a_mean_loss_over_pixels_learns_as_fast_as_a_sum(size):
    """Rate times gradient and rate times decay are those of FCN's solver."""
    change = f"--config.segmenter.input_size={size}"
    group = load("fcn8s-atonce", "vw300", change)["train"]
    assert group["learning_rate"] / size**2 == pytest.approx(1e-10)
    assert group["learning_rate"] * group["weight_decay"] == pytest.approx(1e-10 * 5e-4)
    assert (group["momentum"], group["batch_size"]) == (0.99, 1)
