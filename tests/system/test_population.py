"""Populations as people train them: whole, interrupted, one taken out, and alone."""

import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy

from jaxseg import build, model_file
from jaxseg.learning import loop, optimizers, stages, train_state, units
from jaxseg.runtime import checkpoint, config, metrics, runs

NAMES = ["eta0.2-seed0", "eta0.2-seed1", "eta0.4-seed0", "eta0.4-seed1"]
SEED = 3  # of the clips
LIVELY = ("policy.key_bias=-1.0", "train.steps=3", "log.every=1")


def resolved(demo, file, *changes):
    where = (f"data.prepared={demo}/data", f"flow_run={demo}/flow")
    overrides = [f"--config.{change}" for change in (*where, *LIVELY, *changes)]
    return config.to_dict(config.load_config(f"configs/{file}.py:smoke", overrides))


def alone(demo, eta, seed, *changes):
    """The config of one policy as a person writes it."""
    own = (f"policy.eta={eta}", f"seed={seed}", f"policy.clip_seed={SEED}")
    return resolved(demo, "policy", *own, *changes)


def tensors(folder):
    return safetensors.numpy.load_file(folder / model_file.NAME)


def assert_equal(one, two):
    one, two = tensors(one), tensors(two)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def assert_close(one, two, rtol=1e-5):
    one, two = tensors(one), tensors(two)
    assert one.keys() == two.keys()
    for name in one:
        difference = np.linalg.norm(one[name] - two[name])
        assert difference <= rtol * np.linalg.norm(two[name]), name


@pytest.fixture(scope="module")
def whole(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("population") / "whole"
    wanted = resolved(demo, "population", f"seed={SEED}")
    assert stages.train(wanted, folder) == folder
    return folder


def test_every_policy_has_a_run_folder_of_its_own(demo, whole):
    assert sorted(p.name for p in whole.iterdir() if p.is_dir()) == [
        "checkpoints",
        *NAMES,
    ]
    run = runs.read_run(whole / "eta0.4-seed1")
    wanted = alone(demo, 0.4, 1)
    assert run.config == wanted and run.stage == "policy"
    # `jaxseg train` takes it for the run of that policy, and it is done.
    before = sorted(p.stat().st_mtime_ns for p in run.folder.iterdir())
    stages.train(wanted, run.folder)
    assert sorted(p.stat().st_mtime_ns for p in run.folder.iterdir()) == before
    model = model_file.load(run.folder, model_file.PARTS)
    assert model.settings["policy"]["eta"] == 0.4
    kernels = [tensors(whole / name)["policy/params/FC0/kernel"] for name in NAMES]
    assert all(np.any(one != two) for one, two in zip(kernels, kernels[1:]))


@pytest.mark.parametrize("pairs", ["tables", "networks"])
def test_a_member_equals_the_policy_trained_alone(demo, whole, tmp_path, pairs):
    if pairs == "networks":
        changes = ("policy.pairs=networks", "policy.episodes=1", "runtime.devices=1")
        changes = (*changes, "policy.episode_length=8", "train.steps=2")
        points = ("points.etas=(0.4,)", "points.seeds=(0,1)", f"seed={SEED}")
        whole = stages.train(
            resolved(demo, "population", *points, *changes), tmp_path / "whole"
        )
    else:
        changes = ()
    stages.train(alone(demo, 0.4, 1, *changes), tmp_path / "alone")
    assert_close(whole / "eta0.4-seed1", tmp_path / "alone")
    found, expected = (
        metrics.read(folder) for folder in (whole / "eta0.4-seed1", tmp_path / "alone")
    )
    for one, other in zip(found, expected, strict=True):
        for name in ("key_rate", "length", "stopped"):  # of the actions alone
            assert one[name] == other[name]
        assert one.keys() == other.keys() - {"pairs"}
        assert one["return"] == pytest.approx(other["return"], abs=1e-5)
    assert any(abs(line["return"]) > 1e-3 for line in expected)


class Taken(RuntimeError):
    """The machine was taken away."""


@pytest.fixture
def interrupted(monkeypatch):
    """Return a function that trains and is stopped in the third update."""
    real = units.make_units

    def train(wanted, folder):
        calls = []

        def fail_at_the_third(*arguments):
            calls.append(1)
            if len(calls) == 3:
                raise Taken
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(units, "make_units", fail_at_the_third)
            with pytest.raises(Taken):
                stages.train(wanted, folder)

    return train


def state_in(folder, wanted):
    """Return the step and the state in the last checkpoint of one policy."""
    settings = model_file.load(folder, model_file.PARTS).settings
    tx = optimizers.of_group(wanted["train"])
    template = train_state.create(build.init(settings, "policy", 0), tx)
    with checkpoint.Checkpoints(folder / loop.CHECKPOINTS, read_only=True) as saved:
        return jax.device_get(saved.restore_latest(template))


def test_interrupted_then_taken_then_resumed(
    demo, whole, tmp_path, interrupted, jaxseg
):
    """A policy is taken after two of three updates; all go on, and it alone."""
    everyone, one = runs.read_run(whole).config, alone(demo, 0.2, 1)
    parts, taken = tmp_path / "parts", tmp_path / "taken"
    interrupted(everyone, parts)
    before = sorted(parts.rglob("*"))
    code, out, _ = jaxseg("take", parts, "eta0.2-seed1", taken)
    assert code == 0 and "after 2 of 3 updates" in out
    assert sorted(parts.rglob("*")) == before and not runs.is_done(taken)

    interrupted(one, tmp_path / "alone")
    shutil.copy(taken / model_file.NAME, tmp_path / "alone")  # for its settings
    found, expected = (state_in(f, one) for f in (taken, tmp_path / "alone"))
    assert found[0] == expected[0] == 2
    for x, y in zip(*map(jax.tree.leaves, (found[1], expected[1])), strict=True):
        assert np.linalg.norm(x - y) <= 1e-5 * np.linalg.norm(y)

    stages.train(everyone, parts)
    assert metrics.read(parts) == metrics.read(whole)
    for name in NAMES:
        assert_equal(parts / name, whole / name)
    stages.train(one, taken)
    assert_close(taken, whole / "eta0.2-seed1")
    assert len(metrics.read(taken)) == 3


def test_a_policy_of_a_finished_population_is_taken_as_it_is(whole, tmp_path, jaxseg):
    out = tmp_path / "taken"
    assert jaxseg("take", whole, "eta0.4-seed0", out)[0] == 0
    assert_equal(out, whole / "eta0.4-seed0")
    assert runs.read_run(out).hash == runs.read_run(whole / "eta0.4-seed0").hash
    assert runs.is_done(out)
    cases = [
        ((whole, "eta0.4-seed0", out), ["is a run already"]),
        ((whole, "eta0.4", tmp_path / "x"), ["no policy 'eta0.4'", *NAMES]),
        ((out, "eta0.4-seed0", tmp_path / "x"), ["stage policy; expected population"]),
        ((tmp_path, "eta0.4-seed0", tmp_path / "x"), ["has no config.json"]),
    ]
    for arguments, phrases in cases:
        code, _, err = jaxseg("take", *arguments)
        assert code == 2 and err.count("\n") == 1, err
        for phrase in phrases:
            assert phrase in err
        assert not (tmp_path / "x").exists()


def test_bad_input_is_one_line_and_makes_no_folder(demo, tmp_path, jaxseg):
    cases = [
        ("points.etas=(0.1,1.2)", ["points.etas has 1.2"]),
        ("points.etas=()", ["points.etas is []", "at least one"]),
        ("points.seeds=(1,2,1)", ["points.seeds has 1 2 times"]),
        ("points.etta=(0.1,)", ["no field config.points.etta", "etas"]),
        ("policy.eta=0.1", ["no field config.policy.eta"]),
        ("policy.rollout=plain", ["policy.rollout is 'plain'", "configs/policy.py"]),
        ("policy.episodes=3", ["3 episodes of 4 trials for 4 devices"]),
        ("seed=-1", ["seed is -1"]),
    ]
    for change, phrases in cases:
        code, _, err = jaxseg(
            "train",
            "--config=configs/population.py:smoke",
            f"--config.data.prepared={demo}/data",
            f"--config.flow_run={demo}/flow",
            f"--config.{change}",
            f"--run={tmp_path}/run",
        )
        assert code == 2 and err.count("\n") == 1, (change, err)
        for phrase in phrases:
            assert phrase in err, (phrase, err)
        assert not (tmp_path / "run").exists()
