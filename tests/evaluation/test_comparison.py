"""Evaluation runs on clip scores made by hand."""

import json

import numpy as np
import pytest

from jaxseg import model_file
from jaxseg.data import source
from jaxseg.errors import UserError
from jaxseg.evaluation import (
    clips,
    comparison,
    curves,
    rows,
    speed,
    tables,
    tabulate,
)
from jaxseg.runtime import config, runs

ETA = 0.06


def resolved(*changes, name="evaluate"):
    overrides = [f"--config.{change}" for change in changes]
    return config.to_dict(
        config.load_config(f"configs/{name}.py:smoke", overrides, packaged=True)
    )


class Frames:
    """Two videos of four frames each."""

    def __init__(self, *arguments):
        self.split = "C"
        self.runs = [
            type("Run", (), {"start": s, "length": 4, "video": s // 4}) for s in (0, 4)
        ]

    def __len__(self):
        return 8

    def locate(self, record):
        return f"{record:03d}", 1

    def images(self, indices):
        return np.zeros((len(indices), 4, 4, 3), np.uint8)


@pytest.fixture
def policies(tmp_path, monkeypatch):
    """Return a function that makes run folders of policies with these seeds."""
    segmenter = resolved(name="segmenter")["segmenter"]
    flow = resolved(name="flow")["flow"]
    group = resolved(name="policy")["policy"] | {"eta": ETA}
    settings = {"segmenter": segmenter, "flow": flow, "policy": group}
    model = model_file.Model(settings, dict.fromkeys(settings, {"x": np.zeros(1)}))
    monkeypatch.setattr(model_file, "load", lambda *arguments: model)
    monkeypatch.setattr(source, "FrameSource", Frames)
    monkeypatch.setattr(tables, "data_digest", lambda folder: "data")

    def make(*seeds):
        folders = [str(tmp_path / f"policy{i}") for i in range(len(seeds))]
        for folder, seed in zip(folders, seeds, strict=True):
            runs.open_run(folder, {"seed": seed}, "policy")
        return folders

    return make


def outcome(keys, scores):
    confusion = np.tile(np.array([[6.0, 2.0], [0.0, 2.0]]), (len(keys), 1, 1))
    return clips.Outcome(np.array(keys, float), np.array(scores, float), confusion)


def video(sampled_keys, best):
    """Four frames; as many points as the smoke preset sweeps."""
    outcomes = {
        "fixed": outcome([4, 2, 1], [3.2, 2.4, 2.0]),
        "random": outcome([4, 2, 1], [3.2, 2.2, 2.0]),
        "policy0": outcome([3, 1], [2.9, 2.0]),
        "sampled0": outcome([sampled_keys], [2.5]),
    }
    return clips.ClipScores(4, 1, outcomes, np.array(best, float))


@pytest.fixture
def evaluate(tmp_path, monkeypatch, policies):
    """Return a function that evaluates: sampled keys, changes -> rows, JSON, classes"""
    times = speed.StepTimes({"rule": (0.4, 0.1), "policy": (0.5, 0.2)}, "here")
    monkeypatch.setattr(speed, "step_times", lambda *_, **__: times)

    def run(sampled_keys, *changes):
        videos = {
            "001": video(sampled_keys[0], [2.0, 2.8, 3.1, 3.2]),
            "002": video(sampled_keys[1], [2.2, 2.3, 2.4, 2.5]),
        }
        asked = []

        def score_split(*arguments, classes, **options):
            asked.append(classes)
            run.precisions.append(options["precision"])
            return videos

        monkeypatch.setattr(curves, "score_split", score_split)
        found = comparison.evaluate(
            resolved(*changes) | {"policy_runs": policies(0)}, tmp_path / "run"
        )

        def refuse(name):
            raise AssertionError(f"{name} is not JSON")

        text = (tmp_path / "run" / comparison.COMPARISON).read_text()
        assert json.loads(text, parse_constant=refuse) == found
        return rows.read_csv(tmp_path / "run" / comparison.CURVE_CSV), found, asked

    run.precisions = []
    return run


def point(table, scheduler, value):
    return next(
        r for r in table if (r["scheduler"], r["parameter"]) == (scheduler, value)
    )


def test_readings_of_the_config_reach_the_table(evaluate):
    table, found, asked = evaluate(
        (2, 2),
        "score_classes=foreground",
        "count_first_frames=False",
        "optimum_budget=video",
    )
    assert asked == ["foreground"]
    half = point(table, "fixed", 2.0)
    assert half["miou"] == pytest.approx(2 / 4)  # class 1 alone
    assert half["aki"] == pytest.approx((8 - 2) / (4 - 2))
    # Two keys in each video; the split would put three into the first.
    assert half["regret"] == pytest.approx((2.8 + 2.3 - 4.8) / 8, rel=1e-4)
    assert found["policies"][0]["aki"] == pytest.approx(3.0)
    assert found["policies"][0]["miou_over_random"]["mean"] == pytest.approx(0.3 / 4)


def test_readings_of_the_config_by_default(evaluate):
    table, found, asked = evaluate((2, 2))
    assert asked == ["present"]
    half = point(table, "fixed", 2.0)
    assert half["miou"] == pytest.approx((6 / 8 + 2 / 4) / 2)
    assert half["aki"] == 2.0
    assert half["regret"] == pytest.approx((3.1 + 2.2 - 4.8) / 8, rel=1e-4)


def test_figures_of_two_precisions_are_not_mixed(evaluate):
    _, found, _ = evaluate((2, 2), "runtime.precision=bfloat16")
    assert found["precision"] == "bfloat16" and evaluate.precisions == ["bfloat16"]
    with pytest.raises(UserError, match="precision: bfloat16 there, - now"):
        evaluate((2, 2))


def test_a_policy_without_keys_has_no_interval(evaluate):
    table, found, _ = evaluate((1, 1), "count_first_frames=False")
    assert point(table, "policy_sampled", 1.0)["aki"] == np.inf
    policy = found["policies"][0]
    assert policy["aki"] is policy["miou_over_random"] is None
    assert policy["key_rate"] == 0
    said = tabulate.comparison_lines(found)
    assert "AKI without end" in said and "nothing to compare" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("policy_runs=()", "policy_runs is empty; expected folders of trained"),
        ("fixed=()", "fixed is empty; expected one or more whole numbers from 1"),
        ("fixed=(0,2)", r"fixed is \[0, 2\]; expected one or more whole numbers"),
        ("fixed=(1.5,)", r"fixed is \[1.5\]; expected one or more whole numbers"),
        ("random=()", "random is empty; expected one or more numbers from 0 to 1"),
        ("random=(0.1,2.0)", "random is .*; expected one or more numbers from 0 to 1"),
        ("thresholds=()", "thresholds is empty; expected one or more numbers"),
        ("thresholds=('a',)", "thresholds is .*; expected one or more numbers"),
        ("draws=0", "draws is 0; expected 1 or more"),
        ("seed=-1", "seed is -1; expected 0 or more"),
        ("clip_length=1", "clip_length is 1; expected 2 or more, or 0"),
        ("clip_length=-4", "clip_length is -4; expected 2 or more, or 0"),
        ("score_classes=some", "score_classes is 'some'; expected present or"),
        ("runtime.precision=half", "precision is 'half'; expected auto or float32 or"),
        ("optimum_budget=clip", "optimum_budget is 'clip'; expected split or video"),
    ],
)
def test_unusable_values_are_refused_before_the_run_folder(tmp_path, change, message):
    with pytest.raises(UserError, match=message) as error:
        comparison.evaluate(resolved(change), tmp_path / "run")
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_policies_that_the_table_cannot_tell_apart(tmp_path, policies):
    folders = policies(0, 1, 0)
    with pytest.raises(UserError, match="policy0 and .*policy2 are both policies of"):
        comparison.evaluate(resolved() | {"policy_runs": folders}, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert [seed for seed, _ in comparison.load(folders[:2])] == [0, 1]


def test_splits_of_single_frames_are_refused(tmp_path, monkeypatch, policies):
    frames = Frames()
    frames.runs = frames.runs[:1]
    frames.runs[0].length = 1
    monkeypatch.setattr(source, "FrameSource", lambda *arguments: frames)
    with pytest.raises(UserError, match="split C has no run of two or more frames"):
        comparison.evaluate(resolved() | {"policy_runs": policies(0)}, tmp_path / "run")
    assert not (tmp_path / "run").exists()
