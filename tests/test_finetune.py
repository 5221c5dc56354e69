"""The recipes of configs/finetune.py fit the networks that `jaxseg convert` writes."""

import pytest

from jaxseg import build
from jaxseg.errors import UserError
from jaxseg.learning import stages
from jaxseg.models import parameters
from jaxseg.pretrained import catalogue
from jaxseg.runtime import config, weights

MODELS = (
    "deeplab-xception65",
    "deeplab-mobilenetv2",
    "deeplab-mobilenetv2-decoder",
    "deeplab-resnet50-beta",
    "fcn8s-atonce",
    "deeplab-v2-vgg16",
    "deeplab-largefov-vgg16",
)
COUNTS = {  # with 5 classes
    "deeplab-xception65": 41_051_301,
    "deeplab-mobilenetv2": 2_109_445,
    "deeplab-resnet50-beta": 26_815_797,
}


def load(model, data, *changes):
    loaded = config.load_config(f"configs/finetune.py:{model},{data}", changes)
    return config.to_dict(loaded)


def leaves(settings):
    shapes = weights.flatten(build.shapes(settings, "segmenter"))
    return {name: leaf.shape for name, leaf in shapes.items()}


@pytest.mark.parametrize("model", MODELS)
def test_only_the_classifier_differs_from_the_published_file(model):
    settings = {"segmenter": load(model, "vw300")["segmenter"]}
    theirs = leaves(catalogue.settings_of(catalogue.find(model), None))
    ours = leaves(settings)
    head = build.head_modules(settings, "segmenter")
    differ = {name for name, _ in ours.items() ^ theirs.items()}
    assert differ and all(set(name.split("/")) & set(head) for name in differ)
    if model in COUNTS:
        shapes = build.shapes(settings, "segmenter")
        assert parameters.count_parameters(shapes) == COUNTS[model]


@pytest.mark.parametrize("data", ["vw300", "cityscapes"])
@pytest.mark.parametrize("model", MODELS)
def test_every_recipe_is_whole(model, data):
    found = load(model, data)
    stages.check(found["train"], found["log"])
    stages._optimizer(found, ("logits",))  # refuses options it does not know
    assert found["init_from"] == f"weights/{model}.safetensors" and found["new_head"]
    classes = {"vw300": 5, "cityscapes": 19}[data]
    assert found["segmenter"]["num_classes"] == classes


def test_another_name_is_refused_with_the_ones_there_are():
    with pytest.raises(UserError, match="vgg99,vw300.*deeplab-xception65.*cityscapes"):
        load("vgg99", "vw300")
