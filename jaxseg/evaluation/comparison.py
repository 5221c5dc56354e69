"""An evaluation run: policies against rules on a split, with tables and a figure."""

import json
from pathlib import Path
from typing import Any

from jaxseg import build, model_file
from jaxseg.data import source
from jaxseg.errors import UserError
from jaxseg.evaluation import curves, plots, rows, specs, speed, tables
from jaxseg.ops import iou
from jaxseg.runtime import files, progress, runs

CURVE_CSV, CURVE_PNG, COMPARISON = "curve.csv", "curve.png", "comparison.json"


def evaluate(config: dict[str, Any], folder: str | Path) -> dict[str, Any]:
    """Run the evaluation that a resolved config describes, or go on with it.

    Returns:
      What comparison.json holds: every sampled policy against random keys at its AKI.

    Raises:
      UserError: unusable values, policies on different networks, another config.
    """
    readings = _readings(config)
    models = _load(config["policy_runs"])
    model = models[0][1]
    frames = source.FrameSource(
        config["data"]["prepared"], config["split"], build.input_size(model.settings)
    )
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
        found = _compare(config, models, frames, folder, readings) | {"run": run.hash}
        files.write_atomically(folder / COMPARISON, json.dumps(found, indent=2) + "\n")
        runs.mark_done(folder)
    return found


def _compare(config, models, frames, folder: Path, readings) -> dict[str, Any]:
    """Score, write table and figure, and say how the policies compare."""
    model, compared = models[0][1], _specs(config, models)
    clips = curves.clips_of(frames, config["clip_length"])
    pairs = sum(clip.length * (clip.length - 1) // 2 for clip in clips)
    with progress.bar(pairs, 0, f"score set {config['split']}") as bar:
        videos = curves.score_split(
            model,
            compared,
            frames,
            folder / "clips",
            clip_length=config["clip_length"],
            classes=readings.classes,
            seed=config["seed"],
            progress=bar.advance,
        )
    times = speed.step_times(model, frames.images(range(min(8, len(frames)))))
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


def _readings(config) -> rows.Readings:
    readings = rows.Readings(
        config["score_classes"], config["count_first_frames"], config["optimum_budget"]
    )
    for name, allowed in (
        ("score_classes", iou.CLASS_SETS),
        ("optimum_budget", rows.OPTIMUM_BUDGETS),
    ):
        if config[name] not in allowed:
            raise UserError(
                f"{name} is {config[name]!r}; expected {' or '.join(allowed)}; change "
                f"--config.{name}"
            )
    return readings


def _load(policy_runs) -> list[tuple[int, model_file.Model]]:
    """Load the policies, with their seeds; all must stand on the same N and F."""
    if not policy_runs:
        raise UserError(
            "policy_runs is empty; expected folders of trained policies; set "
            "--config.policy_runs"
        )
    models, first = [], None
    for run in policy_runs:
        model = model_file.load(run, model_file.PARTS)
        name = tables.digest(model)
        if first is not None and name != first[1]:
            raise UserError(
                f"{run} and {first[0]} stand on different networks N and F; expected "
                "policies trained from one flow run; evaluate them apart"
            )
        first = first or (run, name)
        models.append((runs.read_run(run).config["seed"], model))
    return models


def _specs(config, models) -> dict[str, specs.Spec]:
    compared = {
        "fixed": specs.fixed(config["fixed"]),
        "random": specs.random(config["random"], config["draws"], config["seed"]),
    }
    for index, (seed, model) in enumerate(models):
        compared[f"policy{index}"] = specs.policy(model, config["thresholds"], seed)
        compared[f"sampled{index}"] = specs.sampled_policy(model, config["draws"], seed)
    return compared


def _against_random(videos, compared, label, readings) -> dict[str, Any]:
    found = rows.against_random(videos, compared, label, 0, readings=readings)
    return {
        "eta": found.eta,
        "seed": compared[label].seed,
        "aki": found.aki,
        "key_rate": found.key_rate,
        "key_rate_over_eta": found.key_rate / found.eta,
        "miou_over_random": found.difference and found.difference._asdict(),
    }
