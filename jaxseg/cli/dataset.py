"""jaxseg dataset: make synthetic videos, and prepare videos for training."""

import argparse

from jaxseg.errors import UserError

HELP = "render synthetic face videos, or prepare 300VW or Cityscapes for training"
DESCRIPTION = """\
  jaxseg dataset synthesize FOLDER   render face videos in the layout of 300VW
  jaxseg dataset prepare FOLDER OUT  read such videos, 300VW itself, 300VW-Mask, or
                                     Cityscapes

300VW: unpack the 300VW archive so that FOLDER/001/vid.avi and
FOLDER/001/annot/000001.pts exist, and write the lists FOLDER/splits/A.txt, B.txt and
C.txt with one video number a line (or give their folder by --splits). Of the
300VW-Mask release, give the folder that holds images_orig, labels_orig, data_splits.

Cityscapes: unpack gtFine_trainvaltest.zip, and leftImg8bit_trainvaltest.zip (annotated
frames) or leftImg8bit_sequence_trainvaltest.zip (snippets of 30 frames), into FOLDER.
N and F learn on its train and are scored on its val. Lists A.txt, B.txt and so on, with
a line such as train/aachen for a city, make other sets (--splits).
"""
SYNTHESIZE = """\
Render videos of synthetic people who talk, turn and blink, with their 68 landmarks, as
FOLDER/NNN/vid.avi and FOLDER/NNN/annot/000001.pts. Sets A, B and C show different
people. Videos that are there already are kept.
"""
PREPARE = """\
Crop the faces, make label maps from the landmarks (skin, eyes, outer and inner mouth)
and write everything as TFDS records to OUT. Frames are counted against annotations; a
damaged video or landmark file stops the command, or is left out and named in
OUT/report.json with --on-damage=skip.

The frames of Cityscapes stay in FOLDER, and OUT refers to them; every file is read once
and checked, which goes on where it was after an interruption. Where FOLDER was moved,
the same command with its new place puts OUT right.
"""


def add_parser(subparsers) -> None:
    """Add the sub-command to the console program."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser(
        "dataset", help=HELP, description=DESCRIPTION, formatter_class=raw
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    make = actions.add_parser(
        "synthesize",
        help="render synthetic face videos",
        description=SYNTHESIZE,
        formatter_class=raw,
    )
    make.add_argument("folder", metavar="FOLDER")
    make.add_argument(
        "--videos",
        type=int,
        nargs=3,
        default=(8, 8, 12),
        metavar="N",
        help="videos of the sets A, B and C (default: 8 8 12)",
    )
    make.add_argument(
        "--frames",
        type=int,
        nargs=3,
        default=(240, 240, 180),
        metavar="N",
        help="frames of a video in A, B and C",
    )
    make.add_argument("--size", type=int, default=160, help="pixels a side")
    make.add_argument(
        "--activity",
        type=float,
        default=1.0,
        help="how often people move, talk and are lit anew (1 = normal)",
    )
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("--workers", type=int, default=0, help="0 = one a core")
    ready = actions.add_parser(
        "prepare",
        help="crop, label and store videos for training",
        description=PREPARE,
        formatter_class=raw,
    )
    ready.add_argument("folder", metavar="FOLDER")
    ready.add_argument("out", metavar="OUT")
    ready.add_argument(
        "--layout", default="auto", choices=("auto", "300vw", "mask", "cityscapes")
    )
    ready.add_argument(
        "--crop", default="per_frame", choices=("per_frame", "smoothed", "fixed")
    )
    ready.add_argument(
        "--splits", metavar="FOLDER", help="where A.txt, B.txt, C.txt lie"
    )
    ready.add_argument(
        "--label-ids",
        metavar="ID:CLASS,...",
        help="meaning of the numbers in 300VW-Mask's label images, for example "
        "0:0,50:1,100:2,150:3,200:4 (default: they are the classes)",
    )
    ready.add_argument("--on-damage", default="error", choices=("error", "skip"))
    ready.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="shrink crops to at most this many pixels a side",
    )
    ready.add_argument(
        "--verify",
        default="whole",
        choices=("whole", "ends"),
        help="check all bytes of Cityscapes' images, or whether they were cut off",
    )
    ready.add_argument("--workers", type=int, default=0, help="0 = one a core")


def run(args, rest: list[str]) -> None:
    """Do what the arguments say."""
    import os

    args.workers = args.workers or os.cpu_count() or 1
    {"synthesize": _synthesize, "prepare": _prepare}[args.action](args)


def _synthesize(args) -> None:
    from jaxseg.data.synthetic import render
    from jaxseg.runtime import progress

    if min(*args.videos, *args.frames) < 1 or args.size < 32 or args.seed < 0:
        raise UserError(
            f"found videos {args.videos}, frames {args.frames}, size {args.size} and "
            f"seed {args.seed}; expected counts of 1 or more, a size of 32 or more and "
            "a seed of 0 or more; change --videos, --frames, --size or --seed"
        )
    if not 0.0 < args.activity <= 100.0:
        raise UserError(
            f"--activity is {args.activity}; expected a number above 0 and at most "
            "100; 1 is normal"
        )
    with progress.bar(sum(args.videos), 0, "render videos") as bar:
        render.render_dataset(
            args.folder,
            videos=dict(zip("ABC", args.videos, strict=True)),
            frames=dict(zip("ABC", args.frames, strict=True)),
            size=args.size,
            seed=args.seed,
            activity=args.activity,
            workers=args.workers,
            progress=bar.at,
        )
    print(f"wrote {sum(args.videos)} synthetic videos to {args.folder}")


def _prepare(args) -> None:
    from jaxseg.data import prepare
    from jaxseg.runtime import progress

    with progress.bar(1, 0, "prepare frames") as bar:
        report = prepare.prepare(
            args.folder,
            args.out,
            layout=args.layout,
            crop=args.crop,
            splits=args.splits,
            label_ids=_parse_ids(args.label_ids),
            on_damage=args.on_damage,
            image_size=args.image_size,
            verify=args.verify,
            workers=args.workers,
            progress=bar.at,
        )
    frames = ", ".join(f"{split}: {count}" for split, count in report.frames.items())
    print(f"{args.out} holds {frames} frames")
    for problem in report.skipped:
        print(f"left out: {problem.what}: {problem.why}")
    if report.unlisted:
        names = ", ".join(map(str, report.unlisted))
        print(f"in no list, or without annotations, so left out: {names}")


def _parse_ids(text: str | None) -> dict[int, int] | None:
    if text is None:
        return None
    try:
        pairs = [part.split(":") for part in text.split(",")]
        return {int(stored): int(label) for stored, label in pairs}
    except ValueError:
        raise UserError(
            f"--label-ids is {text!r}; expected pairs ID:CLASS; for example "
            "0:0,50:1,100:2,150:3,200:4"
        ) from None
