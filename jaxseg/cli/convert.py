"""jaxseg convert: published weights to a model file."""

import argparse

HELP = "turn published weights (TensorFlow, torch, Caffe) into a model file"
DESCRIPTION = """\
Read a checkpoint as its authors published it and write a model file that every other
command takes in the place of a run folder:

  jaxseg convert model.ckpt-30000 deeplab.safetensors --model deeplab-xception65

Neither TensorFlow nor torch is needed, and nothing in the file is executed. Every
tensor must find its place and every weight its tensor; what does not fit is printed
from both sides. `jaxseg convert --list` shows the models, their classes and parameters,
and where their files come from.
"""


def add_parser(subparsers) -> None:
    """Add the sub-command to the console program."""
    parser = subparsers.add_parser(
        "convert",
        help=HELP,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoint",
        nargs="?",
        metavar="CHECKPOINT",
        help="the file; of a TensorFlow checkpoint its prefix or its .index",
    )
    parser.add_argument(
        "out", nargs="?", metavar="OUT", help="model file to write, .safetensors"
    )
    parser.add_argument("--model", metavar="NAME", help="which network it holds")
    parser.add_argument(
        "--classes",
        type=int,
        metavar="N",
        help="classes in the file, where they are not the published ones",
    )
    parser.add_argument(
        "--list", action="store_true", help="show the known models and stop"
    )


def run(args, rest: list[str]) -> None:
    """Convert as the arguments say, or show what is known."""
    from jaxseg.errors import UserError

    if args.list:
        print(_listing())
        return
    if not (args.checkpoint and args.out and args.model):
        raise UserError(
            "convert needs a checkpoint, an output file and --model; expected "
            "`jaxseg convert CHECKPOINT OUT --model NAME`; see `jaxseg convert --list`"
        )
    from jaxseg import convert

    report = convert.convert(args.checkpoint, args.out, args.model, args.classes)
    print(
        f"wrote {args.out}: {report.model}, {report.parameters:,} parameters from "
        f"{report.tensors} tensors of a {report.format} checkpoint"
    )
    if report.skipped:
        print(f"left out: {_shortened(report.skipped)}")
    if report.fresh:
        print(f"untrained: {_shortened(report.fresh)}")


def _listing() -> str:
    from jaxseg.pretrained import catalogue

    lines = [f"{'model':<34}{'classes':>8}{'parameters':>13}  published as"]
    for name, known in catalogue.MODELS.items():
        classes = "" if known.classes is None else known.classes
        lines.append(f"{name:<34}{classes:>8}{known.parameters:>13,}  {known.source}")
    return "\n".join(lines)


def _shortened(names: tuple[str, ...], limit: int = 6) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
