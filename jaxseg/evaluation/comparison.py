"""An evaluation run: policies against rules on a split, with tables and a figure."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxseg import build, model_file
from jaxseg.data import source
from jaxseg.errors import UserError
from jaxseg.evaluation import (
    checks,
    curves,
    features,
    plots,
    rows,
    specs,
    speed,
    tables,
)
from jaxseg.ops import iou
from jaxseg.runtime import files, progress, runs

CURVE_CSV, CURVE_PNG, COMPARISON = "curve.csv", "curve.png", "comparison.json"
_LONGEST = 2**31 - 1  # frames; schedulers count them in 32 bits


def evaluate(config: dict[str, Any], folder: str | Path) -> dict[str, Any]:
    """Run the evaluation that a resolved config describes, or go on with it.

    Returns:
      What comparison.json holds: every sampled policy against random keys at its AKI.

    Raises:
      UserError: unusable values, policies on different networks or that the table
        could not tell apart, another config.
    """
    _check(config)
    config, precision = checks.precision(config)
    readings = _readings(config)
    models = load(config["policy_runs"])
    model = models[0][1]
    features.check(config, model.settings)
    frames = source.FrameSource(
        config["data"]["prepared"], config["split"], build.input_size(model.settings)
    )
    curves.clips_of(frames, config["clip_length"])  # refuses single frames
    data = tables.data_digest(config["data"]["prepared"])
    inputs = {
        run: tables.digest(model, data, parts=model_file.PARTS)
        for run, (_, model) in zip(config["policy_runs"], models, strict=True)
    }
    run = runs.open_run(folder, config, "evaluate", inputs)
    folder = Path(folder)
    if runs.is_done(folder):
        return json.loads((folder / COMPARISON).read_text())
    with runs.locked(folder):
        found = _compare(config, models, frames, folder, readings, precision)
        found |= {"precision": precision, "run": run.hash}
        text = json.dumps(found, indent=2, allow_nan=False)
        files.write_atomically(folder / COMPARISON, text + "\n")
        runs.mark_done(folder)
    return found


def _compare(
    config, models, frames, folder: Path, readings, precision
) -> dict[str, Any]:
    """Score, write table and figure, and say how the policies compare."""
    model, compared = models[0][1], _specs(config, models, precision)
    scoring = build.Scoring(classes=readings.classes)
    clips = curves.clips_of(frames, config["clip_length"])
    pairs = sum(clip.length * (clip.length - 1) // 2 for clip in clips)
    with progress.bar(pairs, 0, f"score set {config['split']}") as bar:
        videos = curves.score_split(
            model,
            compared,
            frames,
            features.clips(config, model, frames, scoring),
            folder / "clips",
            clip_length=config["clip_length"],
            classes=readings.classes,
            precision=precision,
            seed=config["seed"],
            progress=bar.advance,
        )
    images = frames.images(range(min(8, len(frames))))
    times = speed.step_times(model, images, precision=precision)
    rows.write_csv(
        folder / CURVE_CSV,
        rows.rows(videos, compared, config["split"], times, readings),
    )
    plots.draw_curve(
        rows.read_csv(folder / CURVE_CSV), folder / CURVE_PNG, title=config["title"]
    )
    policies = [
        _against_random(videos, compared, label, readings)
        for label, spec in compared.items()
        if spec.name == "policy_sampled"
    ]
    return {"hardware": times.hardware, "policies": policies}


def _check(config) -> None:
    checks.names(config, "policy_runs", "folders of trained policies")
    checks.numbers(config, "fixed", 1, _LONGEST, whole=True)
    for name in ("random", "thresholds"):
        checks.numbers(config, name, 0, 1)
    checks.at_least(config, "draws", 1)
    checks.at_least(config, "seed", 0)
    if config["clip_length"] < 0 or config["clip_length"] == 1:
        raise UserError(
            f"clip_length is {config['clip_length']}; expected 2 or more, or 0 for "
            "whole videos; change --config.clip_length"
        )
    checks.one_of(config, "score_classes", iou.CLASS_SETS)
    checks.one_of(config, "optimum_budget", rows.OPTIMUM_BUDGETS)


def _readings(config) -> rows.Readings:
    return rows.Readings(
        config["score_classes"], config["count_first_frames"], config["optimum_budget"]
    )


def load(policy_runs: Sequence[str]) -> list[tuple[int, model_file.Model]]:
    """Load policies, with their seeds.

    Raises:
      UserError: they stand on different N or F, or have the same eta and seed.
    """
    models, first, named = [], None, {}
    for run in policy_runs:
        model = model_file.load(run, model_file.PARTS)
        name = tables.digest(model)
        if first is not None and name != first[1]:
            raise UserError(
                f"{run} and {first[0]} stand on different networks N and F; expected "
                "policies trained from one flow run; evaluate them apart"
            )
        first = first or (run, name)
        seed, eta = runs.read_run(run).config["seed"], model.settings["policy"]["eta"]
        other = named.setdefault((eta, seed), run)
        if len(named) == len(models):
            raise UserError(
                f"{other} and {run} are both policies of eta {eta:g} and seed {seed}; "
                "expected one, as the table and the figure tell policies apart by "
                "these; evaluate them apart"
            )
        models.append((seed, model))
    return models


def _specs(config, models, precision) -> dict[str, specs.Spec]:
    compared = {
        "fixed": specs.fixed(config["fixed"]),
        "random": specs.random(config["random"], config["draws"], config["seed"]),
    }
    for index, (seed, model) in enumerate(models):
        compared[f"policy{index}"] = specs.policy(
            model, config["thresholds"], seed, precision
        )
        compared[f"sampled{index}"] = specs.sampled_policy(
            model, config["draws"], seed, precision
        )
    return compared


def _against_random(videos, compared, label, readings) -> dict[str, Any]:
    found = rows.against_random(videos, compared, label, 0, readings=readings)
    return {
        "eta": found.eta,
        "seed": compared[label].seed,
        "aki": found.aki if math.isfinite(found.aki) else None,  # JSON has no infinity
        "key_rate": found.key_rate,
        "key_rate_over_eta": found.key_rate / found.eta,
        "miou_over_random": found.difference and found.difference._asdict(),
    }
