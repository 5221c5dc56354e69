import functools

import jax
import numpy as np
import optax
import pytest

from jaxseg import build, model_file
from jaxseg.data import augment
from jaxseg.errors import UserError
from jaxseg.learning import segmenter, start
from jaxseg.runtime import config, weights

SIZE = 33


def settings(classes):
    loaded = config.load_config(
        "configs/segmenter.py:smoke",
        [
            f"--config.segmenter.num_classes={classes}",
            f"--config.segmenter.input_size={SIZE}",
        ],
    )
    return {"segmenter": config.to_dict(loaded)["segmenter"]}


@functools.cache
def variables():
    return build.init(settings(5), "segmenter", 3)


@pytest.fixture
def saved(tmp_path):
    model = model_file.Model(settings(5), {"segmenter": variables()})
    model_file.save(tmp_path, model, {})
    return tmp_path


def begin(classes, saved, new_head=False):
    return start.prepare(settings(classes), "segmenter", 0, str(saved), new_head).draw()


def test_weights_of_a_file_are_taken_whole(saved):
    found = begin(5, saved)
    jax.tree.map(np.testing.assert_array_equal, found, jax.device_get(variables()))


def test_another_classifier_needs_the_flag(saved):
    with pytest.raises(UserError, match="another classifier.*new_head=True"):
        begin(7, saved)
    found = weights.flatten(begin(7, saved, True))
    old = weights.flatten(variables())
    fresh = weights.flatten(build.init(settings(7), "segmenter", 0))
    for name, value in found.items():
        expected = fresh if "/logits/" in name else old
        np.testing.assert_array_equal(value, expected[name])
    assert found["params/logits/semantic/kernel"].shape[-1] == 7


def test_another_network_is_refused_flag_or_not(saved):
    other = settings(5)
    other["segmenter"]["decoder_channels"] = 24
    with pytest.raises(UserError, match="decoder_channels 16; this config has .* 24"):
        start.prepare(other, "segmenter", 0, str(saved), True)


def test_a_file_that_means_something_else_is_refused(saved):
    """The shapes fit, the numbers would not."""
    other = settings(5)
    other["segmenter"]["backbone"] = "resnet_v1_50_beta"
    with pytest.raises(UserError, match="backbone 'mobilenet_v2'.*resnet_v1_50_beta"):
        start._check_meaning(other, settings(5), "segmenter", str(saved))


def test_groups_of_no_network_are_refused():
    for change, said in (
        ({"architecture": "fcn"}, "the segmenter of this config cannot be built"),
        ({"backbone": "resnet50"}, "resnet50"),
    ):
        group = {"segmenter": settings(5)["segmenter"] | change}
        with pytest.raises(UserError, match=said):
            start.prepare(group, "segmenter", 0)


def test_a_missing_file_is_named():
    with pytest.raises(UserError, match="there is no nowhere.safetensors"):
        start.prepare(settings(5), "segmenter", 0, "nowhere.safetensors")


class Frames:
    """One frame, as often as one likes."""

    size = (SIZE, SIZE)
    labelled = np.arange(4)
    classes = ("a", "b", "c", "d", "e")

    def __len__(self):
        return 4

    def padded(self, colour):
        return self

    def frames(self, index):
        rng = np.random.default_rng(1)
        images = rng.integers(0, 256, (len(index), SIZE, SIZE, 3), np.uint8)
        return images, rng.integers(0, 5, (len(index), SIZE, SIZE), np.uint8)


def test_frozen_batch_norm_keeps_its_statistics():
    trained = segmenter.trainer(
        settings(5),
        Frames(),
        Frames(),
        augment.Augmentation(),
        optax.sgd(0.1),
        batch_size=2,
        eval_frames=2,
        start=variables,
        freeze_batch_norm=True,
        seed=0,
        num_devices=1,
    )
    state, _ = trained.update_fn(trained.init_fn(), trained.batch_fn(1), 1)
    old, new = jax.device_get((variables(), segmenter.variables(state)))
    jax.tree.map(np.testing.assert_array_equal, old["batch_stats"], new["batch_stats"])
    # The statistics fit no frames, so little gets through; the offsets still learn.
    offsets = [x["params"]["logits"]["semantic"]["bias"] for x in (old, new)]
    assert np.abs(offsets[1] - offsets[0]).max() > 1e-4
