"""jaxseg benchmark: speed, as ratios of programs that are timed in one run."""

import argparse
import math

HELP = "time the networks on this machine against their plain forms and torch"
DESCRIPTION = """\
Measure speed as a ratio of programs that are timed in turns in one run:

  jaxseg benchmark inference

times every network, batch 1 at its real size with fresh weights, against the same
network with each operation in its obvious form (lax convolutions), after checking that
both give the same result. `ratio` above 1 means that jaxseg's form is faster.

Where torch is installed (jaxseg does not ask for it), it is timed in the same turns:
eager, in inference mode, on the GPU or on one or all cores, whichever is faster, with
the same weights and input, batch norm folded into the weights, images in channels_last.
It must agree as well.
`torch ratio` is torch's time over jaxseg's. Without torch its columns are empty.

`cpu ratio` compares processor time, which other programs on the machine disturb less.
Takes about a quarter of an hour on two cores; --networks and --size make it shorter.
"""
COLUMNS = (
    "network",
    "part",
    "input",
    "parameters",
    "plain_ms",
    "ms",
    "torch_ms",
    "ratio",
    "cpu_ratio",
    "torch_ratio",
    "torch_cpu_ratio",
    "compile_s",
    "difference",
    "hardware",
)


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
        help="which networks, as the table names them (default: all)",
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
    import csv
    import io

    from jaxseg.errors import UserError
    from jaxseg.evaluation import benchmark, speed
    from jaxseg.runtime import files

    for name, least in (("repeats", 1), ("size", 0)):
        if getattr(args, name) < least:
            raise UserError(
                f"--{name} is {getattr(args, name)}; expected {least} or more; "
                "change it"
            )
    chosen = benchmark.NETWORKS
    if args.networks:
        chosen = [tuple(n.partition(":")[::2]) for n in args.networks.split(",")]
    hardware = speed.hardware()
    print(f"on {hardware}; batch 1, medians of {args.repeats}")
    print(
        f"{'network':<28}{'part':<11}{'input':>10}{'parameters':>13}{'plain ms':>10}"
        f"{'ms':>9}{'torch ms':>10}{'ratio':>7}{'cpu ratio':>11}{'torch ratio':>13}"
        f"{'torch cpu ratio':>17}"
    )
    rows = []
    for found in benchmark.inference(chosen, size=args.size, repeats=args.repeats):
        print(_line(found), flush=True)
        rows.append(dict(zip(COLUMNS, _values(found, hardware), strict=True)))
    if args.out:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        files.write_atomically(args.out, text.getvalue())


def _line(found) -> str:
    """Return the line of the table for a timing, and why it lacks torch."""
    line = (
        f"{found.network:<28}{found.part:<11}{_size(found):>10}{found.parameters:>13,}"
        f"{1e3 * found.plain_seconds:>10.1f}{1e3 * found.seconds:>9.1f}"
        f"{_number(1e3 * found.torch_seconds, '.1f'):>10}"
        f"{found.ratio:>7.2f}{_number(found.cpu_ratio, '.2f'):>11}"
        f"{_number(found.torch_ratio, '.2f'):>13}"
        f"{_number(found.torch_cpu_ratio, '.2f'):>17}"
    )
    if found.torch_missing:
        line += f"\n  without torch: {found.torch_missing}"
    return line


def _values(found, hardware: str) -> tuple:
    """Return the cells of `COLUMNS`."""
    return (
        found.network,
        found.part,
        _size(found),
        found.parameters,
        *(_number(1e3 * x, ".4g") for x in (found.plain_seconds, found.seconds)),
        _number(1e3 * found.torch_seconds, ".4g"),
        *(_number(x, ".4g") for x in (found.ratio, found.cpu_ratio)),
        *(_number(x, ".4g") for x in (found.torch_ratio, found.torch_cpu_ratio)),
        f"{found.compile_seconds:.4g}",
        f"{found.difference:.2g}",
        hardware,
    )


def _size(found) -> str:
    return "x".join(map(str, found.input))


def _number(x: float, form: str) -> str:
    return "" if math.isnan(x) else format(x, form)
