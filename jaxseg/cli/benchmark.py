"""jaxseg benchmark: speed, as ratios of programs that are timed in one run."""

import argparse
import csv
import io
import math

HELP = (
    "time the networks on this machine against their plain forms and other frameworks"
)
DESCRIPTION = """\
Measure speed as a ratio of programs that are timed in turns in one run:

  jaxseg benchmark inference

times every network, batch 1 at its real size with fresh weights, against

plain: the same network with each operation in its obvious form (lax convolutions);
torch: where torch is installed, eager, in inference mode, images in channels_last;
onnx: where onnx and onnxruntime are installed, the network as a model of ONNX, images
  in ONNX's own order, optimised as onnxruntime does by default.

jaxseg asks for neither. Both run on the GPU or on one or all cores, whichever is
faster, with the same weights and input and with batch norm folded into the weights.
All must give jaxseg's result before they are timed; columns of what is not there are
empty, with the reason below the line.

Ratios are the other program's time over jaxseg's: above 1, jaxseg's is faster. Those of
processor time (CPU) are disturbed less by what else the machine does.

Takes about twenty minutes on two cores; --networks and --size make it shorter. The file
of --out is written after every network.
"""


def add_parser(subparsers) -> None:
    """Add the sub-command to the console program."""
    parser = subparsers.add_parser(
        "benchmark",
        help=HELP,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("inference",), help="what to time")
    parser.add_argument(
        "--networks",
        metavar="NAME:PART,...",
        help="which networks, as the table names them (default: all); names are those "
        "of `jaxseg convert --list`",
    )
    parser.add_argument(
        "--size",
        type=int,
        default=0,
        metavar="PIXELS",
        help="side of the input in place of each network's own",
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="samples a program (default: 5)"
    )
    parser.add_argument("--out", metavar="FILE", help="write the table as CSV too")


def run(args, rest: list[str]) -> None:
    """Time what the arguments say and print a line for each network."""
    from jaxseg.errors import UserError
    from jaxseg.evaluation import benchmark, speed, workload

    for name, least in (("repeats", 1), ("size", 0)):
        if getattr(args, name) < least:
            raise UserError(
                f"--{name} is {getattr(args, name)}; expected {least} or more; "
                "change it"
            )
    chosen = workload.NETWORKS
    if args.networks:
        chosen = [tuple(n.partition(":")[::2]) for n in args.networks.split(",")]
    workloads = workload.find(chosen, args.size)
    hardware, rows = speed.hardware(), []
    _write(args.out, rows, benchmark.PEERS)
    print(f"on {hardware}; batch 1, medians of {args.repeats}")
    print(_header(benchmark.PEERS))
    for found in benchmark.inference(workloads, repeats=args.repeats):
        print(_line(found, benchmark.PEERS), flush=True)
        rows.append(_row(found, benchmark.PEERS, hardware))
        _write(args.out, rows, benchmark.PEERS)


def _header(peers) -> str:
    """Return the two lines above the table."""
    others = "".join(f"{name:>8}" for name in ("plain", *peers))
    width = len(others)
    groups = (f"{what:>{width}}" for what in ("wall ms", "wall / ours", "CPU / ours"))
    return (
        f"{'':<71}{'  '.join(groups)}\n"
        f"{'network':<38}{'input':>10}{'parameters':>13}{'ours':>10}{others}"
        f"  {others}  {others}"
    )


def _line(found, peers) -> str:
    """Return the line of the table for a timing, and why it lacks peers."""
    others = ("plain", *peers)
    line = (
        f"{found.network + ':' + found.part:<38}{_size(found):>10}"
        f"{found.parameters:>13,}{_milliseconds(found, 'ours', '.1f'):>10}"
    )
    line += "".join(f"{_milliseconds(found, name, '.1f'):>8}" for name in others)
    for ratio in (found.ratio, found.cpu_ratio):
        line += "  " + "".join(f"{_number(ratio(name), '.2f'):>8}" for name in others)
    for name, why in found.missing.items():
        line += f"\n  without {peers[name].NAME}: {why}"
    return line


def _columns(peers) -> tuple[str, ...]:
    """Return the names of the columns of the file."""
    return (
        *("network", "part", "input", "parameters", "plain_ms", "ms"),
        *(f"{name}_ms" for name in peers),
        *("ratio", "cpu_ratio"),
        *(f"{name}_{what}" for name in peers for what in ("ratio", "cpu_ratio")),
        *("compile_s", "difference", "hardware"),
    )


def _row(found, peers, hardware: str) -> dict[str, object]:
    """Return the cells of `_columns`."""
    row = {
        "network": found.network,
        "part": found.part,
        "input": _size(found),
        "parameters": found.parameters,
        "ms": _milliseconds(found, "ours", ".4g"),
        "compile_s": f"{found.compile_seconds:.4g}",
        "difference": f"{found.difference:.2g}",
        "hardware": hardware,
    }
    for name in ("plain", *peers):
        prefix = "" if name == "plain" else f"{name}_"
        row[f"{name}_ms"] = _milliseconds(found, name, ".4g")
        row[f"{prefix}ratio"] = _number(found.ratio(name), ".4g")
        row[f"{prefix}cpu_ratio"] = _number(found.cpu_ratio(name), ".4g")
    return row


def _write(path, rows, peers) -> None:
    """Write the table as it is so far, if there is to be a file."""
    from jaxseg.runtime import files

    if path:
        text = io.StringIO()
        writer = csv.DictWriter(text, _columns(peers), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        files.write_atomically(path, text.getvalue())


def _size(found) -> str:
    return "x".join(map(str, found.input))


def _milliseconds(found, program: str, form: str) -> str:
    seconds = found.seconds.get(program)
    return format(1e3 * seconds.wall, form) if seconds else ""


def _number(x: float, form: str) -> str:
    return "" if math.isnan(x) else format(x, form)
