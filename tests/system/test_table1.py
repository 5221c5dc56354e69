"""Table 1 on the smoke demo's networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import build, model_file
from jaxseg.data import sampling, source
from jaxseg.evaluation import segmentation, table1
from jaxseg.models import flownet, parameters
from jaxseg.ops import resize


def arguments(demo, run, *changes):
    return (
        "evaluate",
        "--config=configs/table1.py:smoke",
        f"--run={run}",
        f"--config.data.prepared={demo}/data",
        f"--config.segmenters=('{demo}/segmenter',)",
        f"--config.flow_run={demo}/flow",
        *changes,
    )


@pytest.fixture(scope="module")
def model(demo):
    return model_file.load(demo / "flow", ["segmenter", "flow"])


@pytest.fixture(scope="module")
def frames(demo, model):
    return source.FrameSource(demo / "data", "C", build.input_size(model.settings))


def mean_iou(prediction, labels, classes=range(5)):
    """Mean IoU over all pixels by its definition."""
    ious = []
    for c in classes:
        union = ((prediction == c) | (labels == c)) & (labels != 255)
        if union.any():
            ious.append(((prediction == c) & (labels == c)).sum() / union.sum())
    return np.mean(ious)


def propagated(model, images, key_images):
    """Segment images by F and the posteriors of their keys, one pair at a time."""
    n, f = build.segmenter_net(model.settings), build.flow_net(model.settings)
    size = build.input_size(model.settings, "flow")

    @jax.jit
    def one(image, key_image):
        logits = n.apply(model.variables["segmenter"], key_image[None])
        small = [resize.shrink(jnp.asarray(x), size)[None] for x in (image, key_image)]
        motion = f.apply(model.variables["flow"], *small)
        motion = jax.tree.map(lambda x: x[0], motion)
        posterior = flownet.propagate(motion, jax.nn.softmax(logits[0]))
        return resize.resize_bilinear(posterior, image.shape[:2]).argmax(-1)

    return np.stack([one(*pair) for pair in zip(images, key_images, strict=True)])


def test_rows_are_those_of_the_networks(demo, tmp_path, jaxseg, model, frames):
    one_scale = "--config.scales=((1.0,),)"
    command = arguments(demo, tmp_path / "t", one_scale, "--config.flip=True")
    code, said, _ = jaxseg(*command)
    assert code == 0 and "deeplab_v3plus mobilenet_v2" in said and "1 flip" in said
    n, f = table1.read(tmp_path / "t" / table1.TABLE_CSV)
    assert (n["network"], f["network"]) == ("N", "F")
    count = parameters.count_parameters(model.variables["segmenter"])
    assert int(n["parameters"]) == count and float(n["fps"]) > 0

    images, labels = frames.frames(segmentation.spread_indices(len(frames), 4))
    net = build.segmenter_net(model.settings)
    apply = jax.jit(lambda x: net.apply(model.variables["segmenter"], x))
    sides = []
    for seen in (images, images[:, :, ::-1]):
        logits = resize.resize_bilinear(apply(seen), images.shape[1:3])
        sides.append(np.asarray(jax.nn.softmax(logits)))
    posterior = sides[0] + sides[1][:, :, ::-1]
    expected = mean_iou(posterior.argmax(-1), labels)
    assert float(n["miou"]) == pytest.approx(expected, abs=1e-3)

    keys, current = sampling.pair_indices(frames, 0, 0, 4, 30).T
    images, labels = frames.frames(current)
    expected = mean_iou(propagated(model, images, frames.images(keys)), labels)
    assert float(f["miou"]) == pytest.approx(expected, abs=1e-3)

    again, said_again, _ = jaxseg(*command)
    assert again == 0 and said_again == said  # done: nothing is measured anew


def test_networks_at_another_size_and_stride(demo, tmp_path, jaxseg, model):
    changes = ("input_size=49", "output_stride=8", "score_classes=foreground")
    changes = [f"--config.{change}" for change in (*changes, "scales=((1.0,),)")]
    run = tmp_path / "t"
    code, _, _ = jaxseg(*arguments(demo, run, *changes, "--config.flow_run="))
    assert code == 0
    (row,) = table1.read(run / table1.TABLE_CSV)
    assert (row["input"], row["output_stride"]) == ("49x49", "8")

    frames = source.FrameSource(demo / "data", "C", 49)
    images, labels = frames.frames(segmentation.spread_indices(len(frames), 4))
    group = model.settings["segmenter"] | {"output_stride": 8}
    net = build.segmenter_net({"segmenter": group})
    logits = jax.jit(net.apply)(model.variables["segmenter"], images)
    prediction = np.asarray(resize.resize_bilinear(logits, (49, 49))).argmax(-1)
    expected = mean_iou(prediction, labels, range(1, 5))
    assert float(row["miou"]) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--config.scales=(1.25,1.75)", "lists of numbers above 0"),
        ("--config.data.prepared=", "expected a prepared set"),
        ("--config.split=Z", "no split 'Z'"),
        ("--config.flow_run=nowhere", "there is no nowhere"),
    ],
)
def test_mistakes_are_named(demo, tmp_path, jaxseg, change, message):
    code, _, error = jaxseg(*arguments(demo, tmp_path / "t", change))
    assert code == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "t").exists()
