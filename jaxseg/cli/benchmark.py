"""jaxseg benchmark: speed, as ratios of programs that are timed in one run."""

import argparse

HELP = "time the networks on this machine against their plain forms"
DESCRIPTION = """\
Measure speed as a ratio of two programs that are timed in turns in one run:

  jaxseg benchmark inference

times every network, batch 1 at its real size with fresh weights, against the same
network with each operation in its obvious form (lax convolutions), after checking that
both give the same result. `ratio` above 1 means that jaxseg's form is faster. Takes
about ten minutes on two cores; --networks and --size make it shorter.
"""
COLUMNS = (
    "network",
    "part",
    "input",
    "parameters",
    "plain_ms",
    "ms",
    "ratio",
    "cpu_ratio",
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
        f"{'ms':>9}{'ratio':>7}{'cpu ratio':>11}"
    )
    rows = []
    for found in benchmark.inference(chosen, size=args.size, repeats=args.repeats):
        size = "x".join(map(str, found.input))
        print(
            f"{found.network:<28}{found.part:<11}{size:>10}{found.parameters:>13,}"
            f"{1e3 * found.plain_seconds:>10.1f}{1e3 * found.seconds:>9.1f}"
            f"{found.ratio:>7.2f}{found.cpu_ratio:>11.2f}",
            flush=True,
        )
        values = (
            found.network,
            found.part,
            size,
            found.parameters,
            f"{1e3 * found.plain_seconds:.4g}",
            f"{1e3 * found.seconds:.4g}",
            f"{found.ratio:.4g}",
            f"{found.cpu_ratio:.4g}",
            f"{found.compile_seconds:.4g}",
            f"{found.difference:.2g}",
            hardware,
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    if args.out:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        files.write_atomically(args.out, text.getvalue())
