"""Stored features as people use them: ahead, by the training, by the evaluation."""

import numpy as np
import pytest
import safetensors.numpy

from jaxseg import build, dynamic, model_file
from jaxseg.data import source
from jaxseg.evaluation import clips, feature_store, features, specs
from jaxseg.learning import stages
from jaxseg.runtime import config, metrics


def options(demo, tmp_path, *changes):
    return [
        f"--config.data.prepared={demo}/data",
        f"--config.flow_run={demo}/flow",
        f"--config.runtime.features_folder={tmp_path}/store",
        "--config.policy.pairs=networks",
        "--config.log.every=1",
        *changes,
    ]


def resolved(*arguments):
    return config.to_dict(
        config.load_config("configs/policy.py:smoke", options(*arguments))
    )


def train(wanted, folder):
    return safetensors.numpy.load_file(stages.train(wanted, folder))


def test_training_reads_what_was_computed_ahead(demo, tmp_path, jaxseg, monkeypatch):
    """Stored as float32, features train the very policy that computed ones do."""
    name = "--config=configs/policy.py:smoke"
    code, _, error = jaxseg("features", name, *options(demo, tmp_path))
    assert code == 2 and "data.features is 'computed'" in error
    stored = options(demo, tmp_path, "--config.data.features=float32")
    for there, missing in ((0, 32), (32, 0)):
        code, out, _ = jaxseg("features", name, *stored)
        mib = missing * (17 * 17 * 5 + 3) * 4 / 2**20
        assert code == 0 and "all there" in out
        assert f"set B: 32 frames, {there} of them there; {mib:.1f} MiB" in out

    def refuse(*_):
        raise AssertionError("computed again")

    found, logs = {}, {}
    for format in ("computed", "float32", "uint8"):
        wanted = resolved(demo, tmp_path, f"--config.data.features={format}")
        with monkeypatch.context() as patch:
            if format != "uint8":
                patch.setattr(feature_store.Store, "_compute", refuse)
            found[format] = train(wanted, tmp_path / format)
        logs[format] = metrics.read(tmp_path / format)
    assert found["computed"].keys() == found["float32"].keys()
    for key, value in found["computed"].items():
        np.testing.assert_array_equal(found["float32"][key], value, err_msg=key)
    assert logs["computed"] == logs["float32"]
    # What was not computed ahead is when it is needed, and trains nearly the same:
    # decisions do not depend on features, what they are paid does.
    exact, rounded = logs["computed"][0], logs["uint8"][0]
    assert abs(exact["return"]) > 1e-3
    assert [rounded[k] for k in ("key_rate", "length")] == [
        exact[k] for k in ("key_rate", "length")
    ]
    assert rounded["return"] == pytest.approx(exact["return"], rel=0.1, abs=1e-3)
    assert list((tmp_path / "store").rglob("*-uint8/B/*.features.npy"))


def test_evaluation_scores_stored_features_as_computed_ones(demo, tmp_path):
    model = model_file.load(demo / "eta06", model_file.PARTS)
    frames = source.FrameSource(demo / "data", "C", build.input_size(model.settings))
    wanted = resolved(demo, tmp_path, "--config.data.features=float32")
    stored = features.clips(wanted, model, frames)
    compared = {"fixed": specs.fixed((1, 3))}
    images, labels = frames.clip(3, 9)
    expected = clips.score_clip(model, compared, dynamic.Clip(images, labels))
    found = clips.score_clip(model, compared, stored(3, 9))
    np.testing.assert_array_equal(found.optimum, expected.optimum)
    for one, two in zip(found.outcomes["fixed"], expected.outcomes["fixed"]):
        np.testing.assert_array_equal(one, two)


def test_rounding_is_measured_at_the_precision_of_the_config(demo, tmp_path, jaxseg):
    arguments = ["--config=configs/policy.py:smoke", *options(demo, tmp_path)]
    gains = {}
    for precision in ("auto", "bfloat16"):
        changed = f"--config.runtime.precision={precision}"
        code, out, _ = jaxseg("features", *arguments, changed, "--loss", "8")
        name = "float32" if precision == "auto" else precision
        assert code == 0 and f"set B, 8 pairs, networks in {name};" in out
        assert out.count("\nbfloat16 ") == out.count("\nuint8 ") == 1
        gains[precision] = out.splitlines()[0].split()[-1], out.splitlines()[2:]
    assert gains["auto"] != gains["bfloat16"]
    changed = "--config.runtime.precision=float16"
    code, _, error = jaxseg("features", *arguments, changed, "--loss", "8")
    assert code == 2 and "the precision is 'float16'" in error
