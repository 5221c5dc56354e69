"""Stages as people run them: interrupted, continued, on several devices, wrongly."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy

from jaxseg import model_file
from jaxseg.data import sampling
from jaxseg.errors import UserError
from jaxseg.learning import policies, stages, units
from jaxseg.runtime import config, metrics


def policy_config(demo, *changes):
    return config.to_dict(
        config.load_config(
            "configs/policy.py:smoke",
            [
                f"--config.data.prepared={demo}/data",
                f"--config.flow_run={demo}/flow",
                "--config.train.steps=3",
                "--config.log.every=1",
                *changes,
            ],
        )
    )


def test_interrupted_policy_equals_the_uninterrupted_one(demo, tmp_path, monkeypatch):
    wanted = policy_config(demo)
    whole = stages.train(wanted, tmp_path / "whole")
    real, calls = units.make_units, []

    def fail_at_the_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("the machine was taken away")
        return real(*arguments)

    monkeypatch.setattr(units, "make_units", fail_at_the_third)
    with pytest.raises(RuntimeError, match="taken away"):
        stages.train(wanted, tmp_path / "parts")
    assert not (tmp_path / "parts" / "DONE").exists()
    calls.clear()
    monkeypatch.setattr(units, "make_units", lambda *x: calls.append(1) or real(*x))
    parts = stages.train(wanted, tmp_path / "parts")
    one, two = (safetensors.numpy.load_file(path) for path in (whole, parts))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert metrics.read(tmp_path / "whole") == metrics.read(tmp_path / "parts")
    assert len(calls) < 3  # it went on from a checkpoint


def test_interrupted_segmenter_equals_the_uninterrupted_one(
    demo, tmp_path, monkeypatch
):
    """Batch statistics and the optimizer's state survive as parameters do."""
    wanted = config.to_dict(
        config.load_config(
            "configs/segmenter.py:smoke",
            [f"--config.data.prepared={demo}/data", "--config.train.steps=3"],
        )
    )
    whole = stages.train(wanted, tmp_path / "whole")
    real, steps = sampling.frame_indices, []

    def fail_at_the_third(frames, seed, step, batch):
        steps.append(step)
        if step == 3 and steps.count(3) == 1:
            raise RuntimeError("the machine was taken away")
        return real(frames, seed, step, batch)

    monkeypatch.setattr(sampling, "frame_indices", fail_at_the_third)
    with pytest.raises(RuntimeError, match="taken away"):
        stages.train(wanted, tmp_path / "parts")
    parts = stages.train(wanted, tmp_path / "parts")
    assert steps == [1, 2, 3, 3]  # it went on from the checkpoint of step 2
    one, two = (safetensors.numpy.load_file(path) for path in (whole, parts))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_a_run_whose_inputs_changed_is_refused(demo, tmp_path, jaxseg):
    """The same paths, but another flow network behind them."""
    (tmp_path / "flow").mkdir()
    path = tmp_path / "flow" / model_file.NAME
    shutil.copy(demo / "flow" / model_file.NAME, path)
    wanted = policy_config(demo, f"--config.flow_run={tmp_path}/flow")
    stages.train(wanted, tmp_path / "run")
    model = model_file.load(tmp_path / "flow", ["segmenter", "flow"])
    tensors = safetensors.numpy.load_file(path)
    name = next(n for n in tensors if n.startswith("flow/"))
    metadata = {k: json.dumps(v) for k, v in model.settings.items()}
    safetensors.numpy.save_file({**tensors, name: tensors[name] + 1}, path, metadata)
    with pytest.raises(UserError, match="networks"):
        stages.train(wanted, tmp_path / "run")


@pytest.mark.parametrize("devices", [2, 4])
def test_policy_does_not_depend_on_the_number_of_devices(demo, tmp_path, devices):
    """Two episodes: on two devices one each, on four devices half the trials each."""
    found = {}
    for count in (1, devices):
        path = stages.train(
            policy_config(demo, f"--config.runtime.devices={count}"),
            tmp_path / str(count),
        )
        found[count] = safetensors.numpy.load_file(path), metrics.read(path.parent)
    for name, value in found[1][0].items():
        np.testing.assert_allclose(
            found[devices][0][name], value, rtol=1e-6, atol=1e-7, err_msg=name
        )
    assert any(abs(line["return"]) > 1e-3 for line in found[1][1])
    for one, many in zip(found[1][1], found[devices][1], strict=True):
        # What only the actions decide.
        assert many["key_rate"] == pytest.approx(one["key_rate"], abs=1e-7)
        assert many["length"] == one["length"]


def test_networks_on_the_fly_train_as_tables_do(demo, tmp_path):
    """The one clip of a run of just that length is the same by either way."""
    length = ["--config.policy.episode_length=16", "--config.train.steps=1"]
    clips = ["--config.policy.episodes=1", "--config.policy.pool=1"]
    found = {}
    for pairs in ("tables", "networks"):
        changes = [*length, *clips, f"--config.policy.pairs={pairs}"]
        wanted = policy_config(demo, *changes, "--config.runtime.devices=1")
        wanted["seed"] = _seed_of_the_pooled_clip(demo, wanted)
        stages.train(wanted, tmp_path / pairs)
        found[pairs] = metrics.read(tmp_path / pairs)[0]
    assert abs(found["tables"]["return"]) > 1e-3
    for name in ("return", "key_rate", "length", "loss", "entropy", "grad_norm"):
        assert found["networks"][name] == pytest.approx(
            found["tables"][name], rel=2e-2, abs=2e-3
        ), name


def _seed_of_the_pooled_clip(demo, wanted):
    """Find a seed whose first episode is the clip that a pool of one holds."""
    from jaxseg.data import source

    frames = source.FrameSource(demo / "data", policies.SPLIT, 65)
    start = sampling.spread_clips(frames, 1, 16)[0]
    return next(
        seed
        for seed in range(50)
        if sampling.clip_starts(frames, seed, 1, 1, 16)[0] == start
    )


def _listing(folder):
    return sorted(
        (str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*")
    )


def test_bad_input_is_one_line_and_overwrites_nothing(demo, tmp_path, jaxseg):
    good = [
        f"--config.data.prepared={demo}/data",
        f"--config.flow_run={demo}/flow",
    ]
    (tmp_path / "empty").mkdir()
    policy_file = "--config=configs/policy.py:smoke"
    cases = [
        # arguments, what the line must say
        ((policy_file, *good, "--config.policy.etta=0.1"), ["etta", "eta"]),
        ((policy_file, *good, "--config.policy.eta=0"), ["policy.eta is 0", "above 0"]),
        ((policy_file, *good, "--config.policy.eta=1.2"), ["policy.eta is 1.2"]),
        ((policy_file, *good, "--config.policy.eta=high"), ["high"]),
        (
            (policy_file, *good, "--config.policy.episodes=3"),
            ["3 episodes of 4 trials for 4 devices"],
        ),
        ((policy_file, *good, "--config.runtime.devices=64"), ["expected at least 64"]),
        (
            (policy_file, good[1], f"--config.data.prepared={tmp_path}/none"),
            [f"{tmp_path}/none"],
        ),
        (
            (policy_file, good[1], f"--config.data.prepared={tmp_path}/empty"),
            [f"{tmp_path}/empty", "jaxseg dataset prepare"],
        ),
        (
            (policy_file, good[0], f"--config.flow_run={demo}/segmenter"),
            ["no flow", "run folder of a later stage"],
        ),
        (
            (policy_file, good[0], f"--config.flow_run={tmp_path}/empty"),
            [f"{tmp_path}/empty/{model_file.NAME}", "train it first"],
        ),
        (("--config=configs/polcy.py:smoke", *good), ["configs/policy.py"]),
        (("--config=configs/policy.py:smoky", *good), ["smoky", "smoke"]),
    ]
    before = _listing(demo)
    for arguments, phrases in cases:
        code, _, err = jaxseg("train", *arguments, f"--run={tmp_path}/run")
        assert code == 2, arguments
        assert err.startswith("jaxseg: error: ") and err.count("\n") == 1, err
        for phrase in phrases:
            assert phrase in err, (phrase, err)
        assert not (tmp_path / "run").exists(), arguments
    assert _listing(demo) == before


def test_a_run_of_another_configuration_is_refused(demo, jaxseg):
    before = _listing(demo / "eta06")
    code, _, err = jaxseg(
        "train",
        "--config=configs/policy.py:smoke",
        f"--config.data.prepared={demo}/data",
        f"--config.flow_run={demo}/flow",
        "--config.policy.eta=0.5",
        f"--run={demo}/eta06",
    )
    assert code == 2 and "policy.eta: 0.06 there, 0.5 now" in err
    assert _listing(demo / "eta06") == before
    code, _, err = jaxseg(
        "train",
        "--config=configs/flow.py:smoke",
        f"--config.data.prepared={demo}/data",
        f"--config.segmenter_run={demo}/segmenter",
        f"--run={demo}/eta06",
    )
    assert code == 2 and "is a run of stage policy; expected flow" in err
    assert _listing(demo / "eta06") == before


def test_checkpoint_of_another_network_is_refused(demo, tmp_path, jaxseg):
    """A run folder whose config.json was swapped for that of a wider policy."""
    wanted = policy_config(demo)
    stages.train(wanted, tmp_path / "run")
    wider = policy_config(demo, "--config.policy.conv_channels=12")
    stages.train(wider, tmp_path / "wider")
    (tmp_path / "run" / "DONE").unlink()
    (tmp_path / "run" / "config.json").write_bytes(
        (tmp_path / "wider" / "config.json").read_bytes()
    )
    with pytest.raises(UserError, match="Conv0"):
        stages.train(wider, tmp_path / "run")


def test_evaluation_refuses_policies_of_different_networks(demo, tmp_path, jaxseg):
    other = safetensors.numpy.load_file(demo / "eta14" / model_file.NAME)
    model = model_file.load(demo / "eta14", model_file.PARTS)
    name = next(n for n in other if n.startswith("flow/"))
    other[name] = other[name] + 1.0
    (tmp_path / "other").mkdir()
    metadata = {k: json.dumps(v) for k, v in model.settings.items()}
    safetensors.numpy.save_file(
        other, tmp_path / "other" / model_file.NAME, metadata=metadata
    )
    code, _, err = jaxseg(
        "evaluate",
        "--config=configs/evaluate.py:smoke",
        f"--config.data.prepared={demo}/data",
        f"--config.policy_runs=('{demo}/eta06','{tmp_path}/other')",
        f"--run={tmp_path}/curve",
    )
    assert code == 2 and "different networks" in err
    assert not (tmp_path / "curve").exists()
