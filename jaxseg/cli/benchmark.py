"""jaxseg benchmark: speed, as ratios of programs that are timed in one run."""

import argparse
import csv
import io
import json
import math

HELP = "time networks, rollouts and updates on this machine against alternatives"
DESCRIPTION = """\
Measure speed as a ratio of programs that are timed in turns in one run, after checking
that they agree. A ratio is the other program's time over jaxseg's: above 1, jaxseg's is
faster. Those of processor time (CPU) are disturbed less by what else the machine does.

  jaxseg benchmark inference   networks: plain forms, torch, onnxruntime
  jaxseg benchmark rollout     rollouts: plain, one by one, policies one by one
  jaxseg benchmark training    the policy's gradient: on decisions, on distinct pairs
"""
INFERENCE = """\
Time every network, batch 1 at its real size with fresh weights, against

plain: the same network with each operation in its obvious form (lax convolutions);
torch: where torch is installed, eager, in inference mode, images in channels_last;
onnx: where onnx and onnxruntime are installed, the network as a model of ONNX, images
  in ONNX's own order, optimised as onnxruntime does by default.

jaxseg asks for neither. Both run on the GPU or on one or all cores, whichever is
faster, with the same weights and input and with batch norm folded into the weights.
All must give jaxseg's result before they are timed; columns of what is not there are
empty, with the reason below the line.

Takes about twenty minutes on two cores; --networks and --size make it shorter. The file
of --out is written after every network.
"""
ROLLOUT = """\
Time rollouts that share the work of pairs (last key, frame) between trials against

the plain rollout under vmap, where every trial runs F on every frame to the end: a
  policy that has learned which frames matter ("late"), one whose trials go their own
  ways ("late, undecided"), and one at its start, which soon breaks the budget;
episodes and policies one by one, instead of all at once.

F is FlowNet2-s and the policy the paper's, with drawn weights; frames are drawn too,
and N's results are there already. No action is more likely than 0.994. How much is
shared depends on how alike the trials are: the line below a case says how many
decisions there were, and how many distinct pairs. Decisions must be equal, rewards to
1e-4. Takes about ten minutes on two cores.
"""
TRAINING = """\
Time the policy's gradient at the paper's size (deviations of 9 x 9 x 384): from every
decision, computed twice to save memory as in the plain training, and from the distinct
pairs among them. Both read deviations from the same table, and must agree.
"""


def add_parser(subparsers) -> None:
    """Add the sub-command to the console program."""
    parser = subparsers.add_parser(
        "benchmark",
        help=HELP,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whats = parser.add_subparsers(dest="what", metavar="WHAT", required=True)

    def add(name, text, repeats):
        what = whats.add_parser(
            name,
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        what.add_argument(
            "--repeats",
            type=int,
            default=repeats,
            help=f"samples a program (default: {repeats})",
        )
        return what

    inference = add("inference", INFERENCE, 5)
    inference.add_argument(
        "--networks",
        metavar="NAME:PART,...",
        help="which networks, as the table names them (default: all); names are those "
        "of `jaxseg convert --list`",
    )
    inference.add_argument(
        "--size",
        type=int,
        default=0,
        metavar="PIXELS",
        help="side of the input in place of each network's own",
    )
    inference.add_argument("--out", metavar="FILE", help="write the table as CSV too")
    for name, text in (("rollout", ROLLOUT), ("training", TRAINING)):
        what = add(name, text, 3)
        _add_sizes(what, name)
        what.add_argument(
            "--json", metavar="FILE", help="write the results as lines of JSON too"
        )


def _add_sizes(parser, name) -> None:
    sizes = {"frames": (60, "of an episode"), "trials": (32, "of an episode")}
    if name == "rollout":
        sizes |= {
            "size": (129, "pixels of a side; half of it in the case folded"),
            "frames": (120, "of an episode; half of it in the case folded"),
            "episodes": (4, "of the case folded"),
            "policies": (8, "of the cases population"),
        }
    for field, (value, meaning) in sizes.items():
        parser.add_argument(
            f"--{field}",
            type=int,
            default=value,
            metavar="N",
            help=f"{meaning} (default: {value})",
        )


def run(args, rest: list[str]) -> None:
    """Time what the arguments say and print a line for each case."""
    _check(args)
    {"inference": _inference, "rollout": _rollout, "training": _training}[args.what](
        args
    )


def _check(args) -> None:
    from jaxseg.errors import UserError

    least = {"repeats": 1, "trials": 1, "episodes": 1, "policies": 1, "frames": 4}
    least["size"] = 0 if args.what == "inference" else 32
    for name, lowest in least.items():
        value = getattr(args, name, lowest)
        if value < lowest:
            raise UserError(
                f"--{name} is {value}; expected {lowest} or more; change it"
            )


def _inference(args) -> None:
    from jaxseg.benchmark import inference, table, workload
    from jaxseg.evaluation import speed

    chosen = workload.NETWORKS
    if args.networks:
        chosen = [tuple(n.partition(":")[::2]) for n in args.networks.split(",")]
    workloads = workload.find(chosen, args.size)
    hardware, rows, peers = speed.hardware(), [], inference.PEERS
    _write_table(args.out, rows, table.columns(peers))
    print(f"on {hardware}; batch 1, medians of {args.repeats}")
    print(table.header(peers))
    for found in inference.compare(workloads, repeats=args.repeats):
        print(table.line(found, peers), flush=True)
        rows.append(table.row(found, peers, hardware))
        _write_table(args.out, rows, table.columns(peers))


def _rollout(args) -> None:
    from jaxseg.benchmark import rollout

    sizes = rollout.Sizes(
        args.size, args.frames, args.trials, args.episodes, args.policies
    )
    _compare(rollout.compare(sizes, args.repeats), args)


def _training(args) -> None:
    from jaxseg.benchmark import training

    _compare(training.compare(args.frames, args.trials, args.repeats), args)


def _compare(comparisons, args) -> None:
    """Print comparisons as they come, and write them."""
    from jaxseg.evaluation import speed
    from jaxseg.runtime import files

    hardware, lines = speed.hardware(), []
    if args.json:
        files.write_atomically(args.json, "")
    print(f"on {hardware}; medians of {args.repeats}")
    print(
        f"{'case':<26}{'against':<22}{'ours s':>9}{'wall ratio':>12}{'CPU ratio':>11}"
        f"{'compile s':>11}{'difference':>12}"
    )
    for found in comparisons:
        cpu = "" if math.isnan(found.cpu_ratio) else f"{found.cpu_ratio:.2f}"
        print(
            f"{found.case:<26}{found.against:<22}{found.seconds:>9.3f}"
            f"{found.ratio:>12.2f}{cpu:>11}{found.compile_seconds:>11.1f}"
            f"{found.difference:>12.1e}"
        )
        facts = ", ".join(f"{name} {value:g}" for name, value in found.facts.items())
        print(f"  {facts}", flush=True)
        values = found._asdict() | {"hardware": hardware}
        values["cpu_ratio"] = None if math.isnan(found.cpu_ratio) else found.cpu_ratio
        lines.append(json.dumps(values))
        if args.json:
            files.write_atomically(args.json, "\n".join(lines) + "\n")


def _write_table(path, rows, columns) -> None:
    """Write the table as it is so far, if there is to be a file."""
    from jaxseg.runtime import files

    if path:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        files.write_atomically(path, text.getvalue())
