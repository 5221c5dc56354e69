"""Table 1 of the paper: mean IoU and speed of every N, and of F."""

import csv
import io
from pathlib import Path
from typing import Any

from jaxseg import build, model_file
from jaxseg.data import sampling, source
from jaxseg.errors import UserError
from jaxseg.evaluation import segmentation, speed, tables
from jaxseg.models import parameters
from jaxseg.runtime import files, progress, runs

TABLE_CSV = "table1.csv"
COLUMNS = (
    "network",
    "architecture",
    "run",
    "scales",
    "flip",
    "parameters",
    "input",
    "split",
    "frames",
    "miou",
    "miou_frame_mean",
    "fps",
    "hardware",
)


def evaluate(config: dict[str, Any], folder: str | Path) -> Path:
    """Score the networks that a resolved config names; return the path of the table.

    Raises:
      UserError: unusable values, files that hold no segmenter or flow network, classes
        that the data do not have, another config.
    """
    _check(config)
    models = {run: model_file.load(run, ["segmenter"]) for run in config["segmenters"]}
    flow = config["flow_run"]
    pair = model_file.load(flow, ["segmenter", "flow"]) if flow else None
    inputs = {run: tables.digest(m, parts=["segmenter"]) for run, m in models.items()}
    inputs["data"] = tables.data_digest(config["data"]["prepared"])
    if pair is not None:
        inputs["flow"] = tables.digest(pair)
    runs.open_run(folder, config, "table1", inputs)
    path = Path(folder) / TABLE_CSV
    if runs.is_done(folder):
        return path
    with runs.locked(folder):
        total = len(models) * len(config["scales"]) + (pair is not None)
        rows = []
        with progress.bar(total, 0, "table 1") as bar:
            for run, model in models.items():
                for scales in config["scales"]:
                    rows.append(_segmenter_row(config, run, model, tuple(scales)))
                    bar.advance(1)
            if pair is not None:
                rows.append(_flow_row(config, flow, pair))
                bar.advance(1)
        files.write_atomically(path, _text(rows))
        runs.mark_done(folder)
    return path


def read(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of a table1.csv as text."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _check(config) -> None:
    if not config["segmenters"]:
        raise UserError(
            "segmenters is empty; expected run folders or model files; set "
            "--config.segmenters"
        )
    scales = config["scales"]
    if not scales or not all(row and min(row) > 0 for row in scales):
        raise UserError(
            f"scales is {scales}; expected lists of numbers above 0, for example "
            "((1.0,), (1.25, 1.75)); change --config.scales"
        )
    for name in ("frames", "pairs", "batch_size"):
        if config[name] < 1:
            raise UserError(
                f"{name} is {config[name]}; expected 1 or more; change --config.{name}"
            )


def _segmenter_row(config, run, model, scales) -> dict[str, Any]:
    frames = _frames(config, model)
    how = segmentation.Prediction(scales, config["flip"])
    score = segmentation.score_frames(
        model.settings,
        model.variables,
        frames,
        segmentation.spread_indices(len(frames), config["frames"]),
        how=how,
        batch_size=config["batch_size"],
    )
    images = frames.images(range(min(8, len(frames))))
    predict = segmentation.predict_fn(model.settings, how)
    seconds = speed.median_seconds(
        lambda image: predict(model.variables, image[None]), images
    )
    return _row(config, "N", run, model, score, seconds) | {
        "scales": "+".join(f"{scale:g}" for scale in scales),
        "flip": config["flip"],
        "frames": min(config["frames"], len(frames)),
    }


def _flow_row(config, run, model) -> dict[str, Any]:
    frames = _frames(config, model)
    keys, current = sampling.pair_indices(
        frames, config["seed"], 0, config["pairs"], config["max_gap"]
    ).T
    score = segmentation.score_pairs(
        model.settings,
        model.variables,
        frames,
        keys,
        current,
        batch_size=config["batch_size"],
    )
    images = frames.images(range(min(8, len(frames))))
    seconds = speed.non_key_seconds(model, images)
    return _row(config, "F", run, model, score, seconds) | {
        "scales": "",
        "flip": "",
        "frames": config["pairs"],
    }


def _frames(config, model) -> source.FrameSource:
    return source.FrameSource(
        config["data"]["prepared"], config["split"], build.input_size(model.settings)
    )


def _row(config, network, run, model, score, seconds) -> dict[str, Any]:
    part = {"N": "segmenter", "F": "flow"}[network]
    return {
        "network": network,
        "architecture": _name(model.settings[part]),
        "run": run,
        "parameters": parameters.count_parameters(model.variables[part]),
        "input": "x".join(map(str, build.input_size(model.settings, part))),
        "split": config["split"],
        "miou": f"{score.miou:.6g}",
        "miou_frame_mean": f"{score.miou_frame_mean:.6g}",
        "fps": f"{1 / seconds:.6g}",
        "hardware": speed.hardware(),
    }


def _name(group: dict[str, Any]) -> str:
    """Return what a network is called in the table."""
    if "base_channels" in group:
        return f"flownet_s, {group['base_channels']} channels"
    details = [group[key] for key in ("backbone", "variant") if key in group]
    return " ".join([group["architecture"], *map(str, details)])


def _text(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
