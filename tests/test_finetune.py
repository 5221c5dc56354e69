"""The recipes of configs/finetune.py fit the networks that `jaxseg convert` writes."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import build, model_file
from jaxseg.cli import main
from jaxseg.data import augment, cityscapes, prepare, source
from jaxseg.errors import UserError
from jaxseg.learning import fitting, flow, optimizers, segmenter, stages, start
from jaxseg.models import deeplab_v3plus, parameters, vgg
from jaxseg.pretrained import catalogue
from jaxseg.runtime import config, metrics, weights
from tests.data import street

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
    optimizers.of_group(found["train"], ("logits",))  # refuses options it does not know
    assert found["init_from"] == f"weights/{model}.safetensors" and found["new_head"]
    classes = {"vw300": 5, "cityscapes": 19}[data]
    assert found["segmenter"]["num_classes"] == classes
    folder = {"vw300": "data/300vw", "cityscapes": "data/cityscapes"}[data]
    assert found["data"]["prepared"] == folder
    crop, size = found["augment"]["crop"], found["segmenter"]["input_size"]
    if data == "vw300":
        assert (crop, size) == ([], 513)
    elif model.startswith("fcn"):
        assert (crop, size) == ([], [1024, 2048])
    else:
        assert (crop, size) == ([769, 769], [1025, 2049])


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


def test_so_it_does_over_the_pixels_of_a_street():
    group = load("fcn8s-atonce", "cityscapes")["train"]
    assert group["learning_rate"] / (1024 * 2048) == pytest.approx(1e-10)
    assert group["learning_rate"] * group["weight_decay"] == pytest.approx(1e-10 * 5e-4)


@pytest.mark.parametrize("model", MODELS)
def test_images_are_padded_with_what_the_network_takes_for_nothing(model):
    settings = {"segmenter": load(model, "vw300")["segmenter"]}
    net = build.segmenter_net(settings)
    colour = fitting.mean_colour(net)
    pixel = jnp.asarray(colour, jnp.float32).reshape(1, 1, 1, 3)
    if settings["segmenter"]["architecture"] == "deeplab_v3plus":
        assert np.abs(net.prepare(pixel)).max() <= 0.5 * 2 / 255
        assert colour == (127, 127, 127) == augment.GREY
    else:
        assert np.abs(vgg.subtract(pixel, net.mean)).max() <= 0.5
        caffe = model.startswith("fcn")
        assert colour == ((123, 117, 104) if caffe else (124, 116, 104))


def test_resnets_with_another_stem_have_another_colour():
    colours = {
        name: fitting.mean_colour(deeplab_v3plus.DeepLabV3Plus(backbone=name))
        for name in deeplab_v3plus.BACKBONES
    }
    means = [name for name, colour in colours.items() if colour == (123, 116, 103)]
    assert means == ["resnet_v1_50", "resnet_v1_101"]
    assert all(colours[n] == (127, 127, 127) for n in colours.keys() - set(means))


SMALL = {"width": 0.0625, "hidden": 8}


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """Return a folder with small archives, prepared by the program itself in `data`."""
    folder = tmp_path_factory.mktemp("finetune")
    places = {
        "train": ["aachen_000000_000019", "hamburg_000000_000294"],
        "val": ["lindau_000000_000019", "munster_000000_000019"],
    }
    street.write(folder / "archives", places, snippets=False)
    data = folder / "data"
    assert main.main(["dataset", "prepare", str(folder / "archives"), str(data)]) == 0
    return folder


def test_a_published_file_is_fine_tuned_on_streets(streets):
    known = catalogue.find("deeplab-largefov-imagenet")
    settings = catalogue.settings_of(known, None)
    settings["segmenter"] |= SMALL
    published = {"segmenter": build.init(settings, "segmenter", 0)}
    file, run = streets / "published.safetensors", streets / "run"
    model_file.write(file, model_file.Model(settings, published), {})
    arguments = [
        "--config=configs/finetune.py:deeplab-largefov-imagenet,cityscapes",
        f"--run={run}",
        f"--config.data.prepared={streets}/data",
        f"--config.init_from={file}",
        "--config.segmenter.input_size=(65,129)",
        "--config.augment.crop=(49,49)",
        *(f"--config.segmenter.{name}={value}" for name, value in SMALL.items()),
        "--config.train.steps=2",
        "--config.train.batch_size=2",
        "--config.train.save_every=2",
        "--config.log.every=1",
        "--config.runtime.devices=1",
    ]
    assert main.main(["train", *arguments]) == 0
    losses = [line["loss"] for line in metrics.read(run) if "loss" in line]
    assert len(losses) == 2 and np.isfinite(losses).all()
    # A fresh classifier of small weights: about equal chances of 19.
    assert losses[0] == pytest.approx(np.log(19), abs=0.5)
    summary = json.loads((run / "DONE").read_text())
    assert 0.0 <= summary["miou"] < 0.5
    trained = model_file.load(run, ["segmenter"])
    assert trained.settings["segmenter"]["input_size"] == [65, 129]
    old = weights.flatten(published["segmenter"])
    new = weights.flatten(trained.variables["segmenter"])
    assert old["params/fc8_voc12/kernel"].shape[-1] == 5
    assert new["params/fc8_voc12/kernel"].shape[-1] == 19
    body = "params/vgg16/conv1_1/kernel"
    change = np.abs(np.asarray(new[body]) - np.asarray(old[body])).max()
    assert 0 < change < 0.1 * np.abs(old[body]).max()


def trainer(folder, data="cityscapes", **changes):
    wanted = load("deeplab-mobilenetv2", data)
    wanted["segmenter"] |= {"input_size": [65, 129]} | changes.pop("segmenter", {})
    settings = {"segmenter": wanted["segmenter"]}
    frames = source.FrameSource(folder / "data", "A", (65, 129))
    return segmenter.trainer(
        settings,
        frames,
        source.FrameSource(folder / "data", "B", (65, 129)),
        augment.Augmentation(**(wanted["augment"] | changes)),
        optimizers.of_group(wanted["train"]),
        batch_size=4,
        eval_frames=2,
        start=lambda: None,
        seed=0,
        num_devices=1,
    )


STILL = {"min_scale": 1.0, "max_scale": 1.0, "flip": 0.0}


def test_training_sees_crops_of_the_stored_pixels(streets):
    batch = trainer(streets, crop=[33, 65], **STILL).batch_fn(1)
    assert batch.images.shape == (4, 33, 65, 3) and batch.labels.shape == (4, 33, 65)
    shown = [(street.frame(n), street.label_ids(n)) for n in (19, 294)]
    for image, labels in zip(batch.images, batch.labels):
        crops = []
        for frame, ids in shown:
            windows = np.lib.stride_tricks.sliding_window_view(frame, image.shape)
            same = (windows[:, :, 0] == image).all(axis=(2, 3, 4))
            crops += [
                cityscapes.lookup()[ids[top : top + 33, left : left + 65]]
                for top, left in np.argwhere(same)
            ]
        assert any((crop == labels).all() for crop in crops)


def test_a_crop_larger_than_the_frame_is_padded_with_the_networks_colour(streets):
    batch = trainer(streets, crop=[80, 160], **STILL).batch_fn(1)
    assert (batch.images[:, 64:] == 127).all() and (batch.labels[:, 64:] == 255).all()
    assert (batch.images[:, :, 128:] == 127).all()
    named = trainer(streets, crop=[80, 160], pad=[1, 2, 3], **STILL).batch_fn(1)
    assert (named.images[:, 64:] == (1, 2, 3)).all()


def test_without_a_crop_frames_are_seen_whole(streets):
    batch = trainer(streets, crop=[], **STILL).batch_fn(1)
    assert batch.images.shape == (4, 65, 129, 3)
    assert (batch.images[:, 64] == 127).all() and (batch.labels[:, 64] == 255).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop": [0, 5]}, r"augment.crop is \(0, 5\)"),
        ({"crop": [5]}, r"augment.crop is \(5,\)"),
        ({"pad": [1, 2]}, r"augment.pad is \(1, 2\)"),
        ({"pad": [1, 2, 256]}, "expected red, green and blue"),
        ({"segmenter": {"num_classes": 5}}, "num_classes is 5 for data of 19 classes"),
    ],
)
def test_what_no_training_can_do_with_is_refused(streets, changes, words):
    with pytest.raises(UserError, match=words):
        trainer(streets, **changes)


def test_flow_learns_on_pairs_that_end_at_the_annotated_frame(tmp_path):
    """With the recipe's own gaps; key frames are the right ones of the snippet."""
    found = config.to_dict(config.load_config("configs/flow.py:cityscapes"))
    stages.check(found)
    assert found["data"]["prepared"] == "data/cityscapes" and found["max_gap"] == 9
    street.write(tmp_path / "archives", {"train": ["hamburg_000000_000294"]})
    prepare.prepare(tmp_path / "archives", tmp_path / "data")
    frames = source.FrameSource(tmp_path / "data", "A", (65, 129))
    group = {"architecture": "deeplab_v2", "num_classes": 19, "mean": (9.0, 8.0, 7.0)}
    settings = {
        "segmenter": group | {"input_size": (65, 129)},
        "flow": found["flow"] | {"num_classes": 19, "input_size": (32, 64)},
    }
    made = flow.trainer(
        model_file.Model(settings, {"segmenter": {}}),
        frames,
        frames,
        flow.Options(batch_size=16, max_gap=found["max_gap"], flip=False),
        optimizers.of_group(found["train"]),
        start=lambda: None,
        seed=0,
        num_devices=1,
    )
    batch = made.batch_fn(1)
    assert (batch.current[:, :64, :128] == street.frame(294)).all()
    assert (batch.labels[:, :64, :128] == street_labels(294)).all()
    keys = {n: street.frame(n) for n in range(285, 294)}
    gaps = [
        [294 - n for n, frame in keys.items() if (key[:64, :128] == frame).all()]
        for key in batch.key
    ]
    assert all(len(gap) == 1 for gap in gaps) and len({gap[0] for gap in gaps}) > 4
    assert (batch.key[:, 64] == (9, 8, 7)).all()  # what N takes for nothing


def street_labels(number):
    return cityscapes.lookup()[street.label_ids(number)]
