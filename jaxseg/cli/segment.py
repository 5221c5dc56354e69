"""jaxseg segment: run a trained model on a video file."""

import argparse

from jaxseg.errors import UserError

HELP = "run a trained model on any video and write an overlay video"
DESCRIPTION = """\
Segment the face in a video file with a trained run, and show what was key:

  jaxseg segment input.mp4 overlay.mp4 --run runs/demo/eta06 --box 120,40,200,200

The overlay video shows the labels on every frame, a border on key frames, and a strip
with the latest keys (bars) and the policy's key probability (line). Beside it lies a
.jsonl file with a line a frame: frame, key, probability, kar (key ratio of the last 90
decisions), lkd (frames since the last key) and milliseconds (resizing, networks and
decision, without decoding and drawing).

Models of the demo are trained on synthetic faces: on a real video they show how the
program works, not how well the method does.
"""


def add_parser(subparsers) -> None:
    """Add the sub-command to the console program."""
    parser = subparsers.add_parser(
        "segment",
        help=HELP,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("video", metavar="VIDEO", help="a video that OpenCV reads")
    parser.add_argument("out", metavar="OUT", help="overlay: .mp4, .avi or .webm")
    parser.add_argument(
        "--run", required=True, metavar="RUN", help="run folder of a trained policy"
    )
    parser.add_argument(
        "--box",
        metavar="X,Y,W,H",
        help="where the face is, in pixels (default: the largest centred square)",
    )
    parser.add_argument(
        "--tau",
        type=float,
        help="key where the probability exceeds this (default: sample from the policy)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sampling")
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of the networks; auto is bfloat16 on a GPU (default: %(default)s)",
    )


def run(args, rest: list[str]) -> None:
    """Segment the video as the arguments say."""
    box = None if args.box is None else _parse_box(args.box)
    from jaxseg.runtime import host

    host.keep_memory()  # before jax computes
    from jaxseg import model_file
    from jaxseg.evaluation import live
    from jaxseg.runtime import progress

    model = model_file.load(args.run, model_file.PARTS)
    with progress.bar(live.count_frames(args.video), 0, "segment") as bar:
        found = live.segment_video(
            model,
            args.video,
            args.out,
            box=box,
            tau=args.tau,
            seed=args.seed,
            precision=args.precision,
            progress=bar.advance,
        )
    print(
        f"{found.frames} frames, {found.keys} of them key (average key interval "
        f"{found.frames / found.keys:.1f}); {found.key_milliseconds:.1f} ms a key "
        f"frame and {found.non_key_milliseconds:.1f} ms another (medians)"
    )
    print(f"overlay: {args.out}")
    print(f"log: {found.log}")


def _parse_box(text: str) -> tuple[int, int, int, int]:
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--box is {text!r}; expected four whole numbers x,y,width,height; for "
            "example --box 120,40,200,200"
        ) from None
    return x, y, width, height
