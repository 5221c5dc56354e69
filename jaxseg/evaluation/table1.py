"""Table 1 of the paper: mean IoU and speed of every N, and of F."""

import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

from jaxseg import build, model_file
from jaxseg.data import classes, sampling, source
from jaxseg.errors import UserError
from jaxseg.evaluation import checks, segmentation, speed, tables
from jaxseg.models import parameters
from jaxseg.ops import iou
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
    "output_stride",
    "split",
    "frames",
    "miou",
    "miou_frame_mean",
    "fps",
    "precision",
    "hardware",
)


class _Network(NamedTuple):
    """A network to be scored: where it comes from, and its frames at its size."""

    run: str
    model: model_file.Model
    frames: source.FrameSource


def evaluate(config: dict[str, Any], folder: str | Path) -> Path:
    """Score the networks that a resolved config names; return the path of the table.

    Raises:
      UserError: unusable values, files that hold no segmenter or flow network, classes
        or an output stride that a network does not have, another config.
    """
    _check(config)
    config, precision = checks.precision(config)
    networks, pair = _networks(config), _pair_network(config)
    inputs = {n.run: tables.digest(n.model, parts=["segmenter"]) for n in networks}
    inputs["data"] = tables.data_digest(config["data"]["prepared"])
    pairs = None
    if pair is not None:
        inputs["flow"] = tables.digest(pair.model)
        pairs = sampling.pair_indices(
            pair.frames, config["seed"], 0, config["pairs"], config["max_gap"]
        )
    runs.open_run(folder, config, "table1", inputs)
    path = Path(folder) / TABLE_CSV
    if runs.is_done(folder):
        return path
    with runs.locked(folder):
        total = len(networks) * len(config["scales"]) + (pair is not None)
        rows = []
        with progress.bar(total, 0, "table 1") as bar:
            for network in networks:
                for scales in config["scales"]:
                    row = _segmenter_row(config, network, tuple(scales), precision)
                    rows.append(row)
                    bar.advance(1)
            if pair is not None:
                rows.append(_flow_row(config, pair, pairs, precision))
                bar.advance(1)
        files.write_atomically(path, _text(rows))
        runs.mark_done(folder)
    return path


def read(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of a table1.csv as text."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _check(config) -> None:
    checks.names(config, "segmenters", "run folders or model files")
    scales = config["scales"]
    if not scales or not all(checks.is_numbers(row) and min(row) > 0 for row in scales):
        raise UserError(
            f"scales is {scales}; expected lists of numbers above 0, for example "
            "((1.0,), (1.25, 1.75)); change --config.scales"
        )
    for name in ("frames", "pairs", "max_gap", "batch_size"):
        checks.at_least(config, name, 1)
    for name in ("seed", "input_size", "output_stride"):
        checks.at_least(config, name, 0)
    checks.one_of(config, "score_classes", iou.CLASS_SETS)


def _networks(config) -> list[_Network]:
    found = []
    for run in dict.fromkeys(config["segmenters"]):
        model = model_file.load(run, ["segmenter"])
        settings = model.settings | {"segmenter": _group(config, run, model)}
        found.append(_network(config, run, model._replace(settings=settings)))
    return found


def _pair_network(config) -> _Network | None:
    run = config["flow_run"]
    if not run:
        return None
    return _network(config, run, model_file.load(run, ["segmenter", "flow"]))


def _group(config, run, model) -> dict[str, Any]:
    """Return the settings of N with the config's input size and output stride."""
    group = dict(model.settings["segmenter"])
    asked = {
        name: config[name] for name in ("input_size", "output_stride") if config[name]
    }
    if "output_stride" in asked and not _output_stride(model.settings):
        raise UserError(
            f"output_stride is {config['output_stride']} and {run} holds "
            f"{group['architecture']}, which has none; expected 0, its own; score it "
            "apart from the others"
        )
    if asked:
        try:
            build.shapes({"segmenter": group | asked}, "segmenter")
        except (TypeError, ValueError) as error:
            values = " and ".join(f"{name} {value}" for name, value in asked.items())
            raise UserError(
                f"{run} cannot have {values} ({error}); expected values that its "
                "architecture allows; change --config.input_size or "
                "--config.output_stride"
            ) from error
    return group | asked


def _network(config, run, model) -> _Network:
    found = model.settings["segmenter"]["num_classes"]
    if found != classes.NUM_CLASSES:
        raise UserError(
            f"{run} tells {found} classes apart; expected the {classes.NUM_CLASSES} of "
            f"the data, {', '.join(classes.NAMES)}; fine-tune it on them first"
        )
    size = build.input_size(model.settings)
    frames = source.FrameSource(config["data"]["prepared"], config["split"], size)
    return _Network(run, model, frames)


def _segmenter_row(config, network: _Network, scales, precision) -> dict[str, Any]:
    _, model, frames = network
    how = segmentation.Prediction(scales, config["flip"])
    score = segmentation.score_frames(
        model.settings,
        model.variables,
        frames,
        segmentation.spread_indices(len(frames), config["frames"]),
        how=how,
        batch_size=config["batch_size"],
        classes=config["score_classes"],
        precision=precision,
    )
    images = frames.images(range(min(8, len(frames))))
    predict = segmentation.predict_fn(model.settings, how, precision)
    seconds = speed.median_seconds(
        lambda image: predict(model.variables, image[None]), images
    )
    return _row(config, "N", network, score, seconds, precision) | {
        "scales": "+".join(f"{scale:g}" for scale in scales),
        "flip": config["flip"],
        "output_stride": _output_stride(model.settings),
        "frames": min(config["frames"], len(frames)),
    }


def _flow_row(config, network: _Network, pairs, precision) -> dict[str, Any]:
    _, model, frames = network
    keys, current = pairs.T
    score = segmentation.score_pairs(
        model.settings,
        model.variables,
        frames,
        keys,
        current,
        batch_size=config["batch_size"],
        classes=config["score_classes"],
        precision=precision,
    )
    images = frames.images(range(min(8, len(frames))))
    seconds = speed.non_key_seconds(model, images, precision)
    return _row(config, "F", network, score, seconds, precision) | {
        "scales": "",
        "flip": "",
        "output_stride": "",
        "frames": config["pairs"],
    }


def _row(config, kind, network: _Network, score, seconds, precision) -> dict[str, Any]:
    run, model, _ = network
    part = {"N": "segmenter", "F": "flow"}[kind]
    return {
        "network": kind,
        "architecture": _name(model.settings[part]),
        "run": run,
        "parameters": parameters.count_parameters(model.variables[part]),
        "input": "x".join(map(str, build.input_size(model.settings, part))),
        "split": config["split"],
        "miou": f"{score.miou:.6g}",
        "miou_frame_mean": f"{score.miou_frame_mean:.6g}",
        "fps": f"{1 / seconds:.6g}",
        "precision": precision,
        "hardware": speed.hardware(),
    }


def _output_stride(settings) -> int | str:
    """Return the output stride of N, "" where its architecture has none to choose."""
    return getattr(build.segmenter_net(settings), "output_stride", "")


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
