"""Table 1 on the smoke demo's networks."""

import jax
import numpy as np
import pytest

from jaxseg import build, model_file
from jaxseg.data import sampling, source
from jaxseg.evaluation import segmentation, table1
from jaxseg.models import parameters
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


def mean_iou(prediction, labels):
    """Mean IoU over all pixels by its definition."""
    ious = []
    for c in range(5):
        union = ((prediction == c) | (labels == c)) & (labels != 255)
        if union.any():
            ious.append(((prediction == c) & (labels == c)).sum() / union.sum())
    return np.mean(ious)


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
    pairs = segmentation.score_pairs(
        model.settings, model.variables, frames, keys, current, batch_size=4
    )
    assert float(f["miou"]) == pytest.approx(pairs.miou, abs=1e-5)

    again, said_again, _ = jaxseg(*command)
    assert again == 0 and said_again == said  # done: nothing is measured anew


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--config.segmenters=()", "segmenters is empty"),
        ("--config.scales=((0.0,),)", "lists of numbers above 0"),
        ("--config.frames=0", "frames is 0; expected 1 or more"),
        ("--config.flow_run=nowhere", "there is no nowhere"),
    ],
)
def test_mistakes_are_named(demo, tmp_path, jaxseg, change, message):
    code, _, error = jaxseg(*arguments(demo, tmp_path / "t", change))
    assert code == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "t").exists()
