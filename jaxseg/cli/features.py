"""jaxseg features: run N over a split once, ahead of training or evaluation."""

import argparse

from jaxseg.errors import UserError

HELP = "run N over a set once, ahead of training or evaluation"
DESCRIPTION = """\
Compute what N makes of every frame of a set, which all policies on that N share:

  jaxseg features --config=configs/policy.py --config.data.features=bfloat16

Give the config, with the same changes, of the training of a policy or of the
evaluation that will read it. Without this command they compute what is missing when
they first need it. data.features says how features are stored: float32 gives the same
results as computing them, bfloat16 and uint8 round them (docs/features.md).

Everything lies in the prepared folder, or in --config.runtime.features_folder. Stopped
at any moment, the same command goes on where it was; several at once, one a device,
share the work.

With --loss nothing is stored; the command says what each format would change in the
scores of frames propagated from a key.
"""


def add_parser(subparsers) -> None:
    """Add the sub-command to the console program."""
    parser = subparsers.add_parser(
        "features",
        help=HELP,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE[:PRESET]",
        help="a config file, for example configs/policy.py:synthetic",
    )
    parser.add_argument(
        "--loss",
        type=int,
        metavar="PAIRS",
        help="measure the formats on so many pairs (key, frame at most 30 later)",
    )


def run(args, rest: list[str]) -> None:
    """Compute what is missing; `rest` holds --config.field=value overrides."""
    if args.loss is not None and args.loss < 1:
        raise UserError(f"--loss is {args.loss}; expected 1 or more; change it")
    from jaxseg import build, model_file
    from jaxseg.data import source
    from jaxseg.evaluation import features
    from jaxseg.ops import precision as precisions
    from jaxseg.runtime import config, progress

    resolved = config.to_dict(config.load_config(args.config, rest))
    run_folder, split = _reads(args.config, resolved)
    need = ["segmenter"] if args.loss is None else ["segmenter", "flow"]
    model = model_file.load(run_folder, need)
    features.check(resolved, model.settings)
    precision = precisions.resolve(resolved["runtime"]["precision"])
    frames = source.FrameSource(
        resolved["data"]["prepared"], split, build.input_size(model.settings)
    )
    if args.loss is not None:
        _say_losses(model, frames, args.loss, _scoring(resolved), precision)
        return
    if resolved["data"]["features"] == features.COMPUTED:
        raise UserError(
            "data.features is 'computed', so nothing is stored; expected a format; set "
            "--config.data.features=float32, bfloat16 or uint8 here and for what reads "
            "it"
        )
    store = features.open_store(resolved, model, frames)
    missing, total = store.missing(), len(frames)
    print(
        f"set {frames.split}: {total:,} frames, {total - missing:,} of them there; "
        f"{store.bytes_of(missing) / 2**20:,.1f} MiB to write to {store.folder}",
        flush=True,
    )
    with progress.bar(total, 0, "features") as bar:
        store.fill(bar.advance)
    print(f"all there, {store.bytes_of(total) / 2**20:,.1f} MiB")


def _reads(name: str, config) -> tuple[str, str]:
    """Return the run of N and the split that a config of some stage reads."""
    from jaxseg.evaluation import checks
    from jaxseg.learning import policies

    if config.get("stage") in ("policy", "population"):
        return config["flow_run"], policies.SPLIT
    if config.get("stage") == "evaluate":
        checks.names(config, "policy_runs", "folders of trained policies")
        return config["policy_runs"][0], config["split"]
    raise UserError(
        f"{name} has stage {config.get('stage')!r}; expected policy, population or "
        "evaluate, which read stored features; use configs/policy.py or another of "
        "these"
    )


def _scoring(config):
    from jaxseg import build
    from jaxseg.learning import recipe

    if config["stage"] != "evaluate":
        return recipe.scoring(config)
    return build.Scoring(classes=config["score_classes"])


def _say_losses(model, frames, count, scoring, precision) -> None:
    from jaxseg.evaluation import rounding

    reward, found = rounding.losses(
        model, frames, count, scoring=scoring, precision=precision
    )
    print(
        f"set {frames.split}, {count:,} pairs, networks in {precision}; score of the "
        "propagated frame (U_a0) from rounded features less that from float32; a key "
        f"gains {reward:.4f}"
    )
    print(f"{'format':<10}{'changed':>9}{'mean':>11}{'mean size':>11}{'largest':>10}")
    for loss in found:
        print(
            f"{loss.format:<10}{loss.changed:>9.1%}{loss.mean:>11.1e}"
            f"{loss.mean_size:>11.1e}{loss.largest:>10.1e}"
        )
