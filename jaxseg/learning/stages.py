"""The stages of training: a config and a run folder in, a model file out."""

import contextlib
from pathlib import Path
from typing import Any

import jax

from jaxseg import build, model_file
from jaxseg.data import augment, classes, source
from jaxseg.errors import UserError
from jaxseg.evaluation import tables
from jaxseg.learning import flow, jobs, loop, optimizers, policies, segmenter, start
from jaxseg.ops import precision as precisions
from jaxseg.ops import warp
from jaxseg.runtime import distributed, runs

TRAIN_SPLIT = "A"


def train(config: dict[str, Any], folder: str | Path) -> Path:
    """Train the stage that a resolved config describes, or go on with it.

    Writes config.json, metrics.jsonl, times.jsonl, checkpoints/, model.safetensors and,
    last, DONE into the run folder. A population has, in the place of the model file, a
    folder for every policy, which holds all of these but for times and checkpoints. A
    finished run is left as it is. Of several processes, all call it with the same
    arguments.

    Args:
      config: plain dicts, lists and numbers, as `runtime.config.to_dict` gives.

    Returns:
      The path of the model file, or the run folder of a population.

    Raises:
      UserError: unusable values, folders or files; nothing is overwritten.
    """
    stages = {
        "segmenter": _segmenter,
        "flow": _flow,
        "policy": policies.alone,
        "population": policies.together,
    }
    stage = config.get("stage")
    if stage not in stages:
        raise UserError(
            f"the config has stage {stage!r}; expected {', '.join(stages)}; use "
            "configs/segmenter.py, flow.py, policy.py or population.py"
        )
    check(config)
    precisions.resolve(config["runtime"]["precision"])
    # Everything that can be refused is, before the folder is touched.
    job = stages[stage](config)
    path = Path(folder) / job.result
    with contextlib.ExitStack() as stack:
        run = _open(config, folder, stage, job, stack)
        if distributed.from_first(runs.is_done(folder)):
            return path
        trainer = job.trainer_fn()
        state = _loop(trainer, config, folder, stage)
        summary = {} if trainer.eval_fn is None else trainer.eval_fn(state)
        if distributed.is_first():
            job.write_fn(run, state)
            runs.mark_done(folder, {name: float(v) for name, v in summary.items()})
    return path


def _open(config, folder, stage, job, stack) -> runs.Run:
    """Open the run folder in all processes; the first one makes it and locks it."""
    how = jobs.devices(config)
    distributed.check_same(
        {
            "runtime.devices": how["num_devices"],
            "runtime.how": how["how"],
            "runtime.precision": precisions.resolve(config["runtime"]["precision"]),
        }
    )

    def begin():
        runs.open_run(folder, config, stage, job.inputs)
        if not runs.is_done(folder):
            stack.enter_context(runs.locked(folder))

    distributed.on_first(begin)
    runs.wait_for_run(folder)
    # The others compare what they read with what the first one does.
    return runs.open_run(folder, config, stage, job.inputs)


def check(config: dict[str, Any]) -> None:
    """Refuse numbers that no training can do with.

    Raises:
      UserError: names the field.
    """
    group = config["train"]
    counts = {f"train.{name}": group[name] for name in ("steps", "save_every")}
    counts |= {"log.every": config["log"]["every"]}
    counts |= {"train.batch_size": group["batch_size"]} if "batch_size" in group else {}
    for name in ("eval_frames", "eval_pairs", "max_gap"):
        counts |= {name: config[name]} if name in config else {}
    limits = {name: (value, 1) for name, value in counts.items()}
    limits["seed"] = (config["seed"], 0)
    if "segmenter" in config:
        found = config["segmenter"].get("num_classes", classes.NUM_CLASSES)
        limits["segmenter.num_classes"] = (found, classes.NUM_CLASSES)
    for name, (value, least) in limits.items():
        if value < least:
            raise UserError(
                f"{name} is {value}; expected {least} or more; change --config.{name}"
            )


def _loop(trainer, config, folder, stage):
    group = config["train"]
    return loop.run_loop(
        trainer,
        folder,
        steps=group["steps"],
        save_every=group["save_every"],
        eval_every=group["eval_every"],
        log_every=config["log"]["every"],
        tensorboard=config["log"]["tensorboard"],
        trace=config["log"]["trace"],
        description=f"train {stage}",
    )


def _batch_devices(config: dict[str, Any]) -> dict[str, Any]:
    """Return the devices of a stage whose batch must divide over them."""
    devices, batch = jobs.devices(config), config["train"]["batch_size"]
    if batch % devices["num_devices"]:
        raise UserError(
            f"train.batch_size is {batch} for {devices['num_devices']} devices; "
            "expected a multiple; change --config.train.batch_size or "
            "--config.runtime.devices"
        )
    return devices


def _sources(config: dict[str, Any], size: tuple[int, int]):
    folder = config["data"]["prepared"]
    return [
        source.FrameSource(folder, split, size, cache=config["data"]["cache"])
        for split in (TRAIN_SPLIT, policies.SPLIT)
    ]


def _start(config, settings, part) -> start.Start:
    return start.prepare(
        settings, part, config["seed"], config["init_from"], config["new_head"]
    )


def _segmenter(config) -> jobs.Job:
    settings = {"segmenter": config["segmenter"]}
    weights = config["label_weights"]
    if weights and len(weights) != config["segmenter"]["num_classes"]:
        raise UserError(
            f"label_weights has {len(weights)} numbers; expected one for each of "
            f"{config['segmenter']['num_classes']} classes, or none; change "
            "--config.label_weights"
        )
    train_frames, held_out = _sources(config, build.input_size(settings))
    begin = _start(config, settings, "segmenter")
    head = build.head_modules(settings, "segmenter")
    tx, devices = optimizers.of_group(config["train"], head), _batch_devices(config)
    batch = config["train"]["batch_size"]

    def trainer_fn():
        return segmenter.trainer(
            settings,
            train_frames,
            held_out,
            augment.Augmentation(**config["augment"]),
            tx,
            batch_size=batch,
            eval_frames=config["eval_frames"],
            label_weights=weights,
            start=begin.draw,
            freeze_batch_norm=batch < config["freeze_batch_norm_below"],
            precision=precisions.resolve(config["runtime"]["precision"]),
            seed=config["seed"],
            **devices,
        )

    def write_fn(run, state):
        found = {"segmenter": segmenter.variables(state)}
        jobs.write_model(run, model_file.Model(settings, found))

    inputs = {"data": tables.data_digest(config["data"]["prepared"])}
    return jobs.Job(inputs | begin.inputs, trainer_fn, write_fn)


def _flow(config) -> jobs.Job:
    model = model_file.load(config["segmenter_run"], ["segmenter"])
    scales = {"num_classes": model.settings["segmenter"]["num_classes"]}
    settings = {
        "segmenter": model.settings["segmenter"],
        "flow": config["flow"] | scales,
    }
    model = model_file.Model(settings, {"segmenter": model.variables["segmenter"]})
    if config["flow"]["border"] not in warp.BORDERS:
        raise UserError(
            f"flow.border is {config['flow']['border']!r}; expected "
            f"{' or '.join(warp.BORDERS)}; change --config.flow.border"
        )
    train_pairs, held_out = _sources(config, build.input_size(settings))
    options = flow.Options(
        batch_size=config["train"]["batch_size"],
        max_gap=config["max_gap"],
        warmup_steps=config["warmup_steps"],
        warmup_motion=config["warmup_motion"],
        flip=config["flip"],
        eval_pairs=config["eval_pairs"],
    )
    begin = _start(config, settings, "flow")
    head = build.head_modules(settings, "flow")
    tx, devices = optimizers.of_group(config["train"], head), _batch_devices(config)

    def trainer_fn():
        return flow.trainer(
            model,
            train_pairs,
            held_out,
            options,
            tx,
            start=begin.draw,
            precision=precisions.resolve(config["runtime"]["precision"]),
            seed=config["seed"],
            **devices,
        )

    def write_fn(run, state):
        found = {**model.variables, "flow": jax.device_get(state.params)}
        jobs.write_model(run, model_file.Model(settings, found))

    inputs = {
        "data": tables.data_digest(config["data"]["prepared"]),
        "segmenter": tables.digest(model, parts=["segmenter"]),
    }
    return jobs.Job(inputs | begin.inputs, trainer_fn, write_fn)
