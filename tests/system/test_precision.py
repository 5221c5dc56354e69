"""The smoke demo's networks in bfloat16."""

import argparse
import json

import numpy as np

from jaxseg import model_file
from jaxseg.cli import segment
from jaxseg.ops import precision
from jaxseg.runtime import metrics, weights


def test_bfloat16_changes_little_and_something(demo, tmp_path, jaxseg):
    code, out, err = jaxseg(
        "evaluate",
        "--config=configs/precision.py:smoke",
        f"--run={tmp_path / 'run'}",
        f"--config.data.prepared={demo}/data",
        f"--config.policy_runs=('{demo}/eta06', '{demo}/eta14')",
    )
    assert code == 0, err
    found = json.loads((tmp_path / "run" / "precision.json").read_text())
    assert (found["frames"], found["pairs"]) == (2 * 12, 2 * 20)
    assert [policy["eta"] for policy in found["policies"]] == [0.06, 0.14]
    for group in (found["key_score"], found["score"], *found["policies"]):
        assert group["mean_difference"] <= group["largest"] < 0.1
        assert 0 < group["bfloat16"] < 1
    assert 0 < found["policies"][0]["largest"]
    assert 0 < found["flow"]["mean_difference"] < 0.05 * found["flow"]["mean_length"]
    assert f"{100 * found['score']['bfloat16']:.4f}" in out


def test_a_policy_learns_in_bfloat16_and_is_kept_in_float32(demo, tmp_path, jaxseg):
    run = tmp_path / "run"
    code, _, err = jaxseg(
        "train",
        "--config=configs/policy.py:smoke",
        f"--run={run}",
        f"--config.data.prepared={demo}/data",
        f"--config.flow_run={demo}/flow",
        "--config.policy.pairs=networks",
        "--config.policy.episodes=1",
        "--config.train.steps=1",
        "--config.runtime.devices=1",
        "--config.runtime.precision=bfloat16",
    )
    assert code == 0, err
    line = metrics.read(run)[-1]
    assert np.isfinite(line["loss"]) and line["grad_norm"] > 0
    found, _ = weights.load_weights(run / model_file.NAME)
    assert {x.dtype for x in weights.flatten(found).values()} == {np.dtype(np.float32)}


def test_segment_offers_every_precision():
    parser = argparse.ArgumentParser()
    segment.add_parser(parser.add_subparsers())
    for name in precision.CHOICES:
        args = parser.parse_args(f"segment a b --run c --precision {name}".split())
        assert args.precision == name
