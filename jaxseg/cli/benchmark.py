"""jaxseg benchmark: speed, as ratios of programs that are timed in one run."""

import argparse
import csv
import io

from jaxseg.cli import benchmark_cases
from jaxseg.errors import UserError

HELP = "time networks, rollouts and updates on this machine against alternatives"
DESCRIPTION = """\
Measure speed as a ratio of programs that are timed in turns in one run, after checking
that they agree. A ratio is the other program's time over jaxseg's: above 1, jaxseg's is
faster. Those of processor time (CPU) are disturbed less by what else the machine does.

"""
_RAW = argparse.RawDescriptionHelpFormatter


def add_parser(subparsers) -> None:
    """Add the sub-command to the console program."""
    cases = benchmark_cases.CASES
    lines = [(name, case.line) for name, case in cases.items()]
    lines.append(("all", "all of these, at small sizes"))
    listed = "\n".join(f"  jaxseg benchmark {name:<12}{line}" for name, line in lines)
    parser = subparsers.add_parser(
        "benchmark",
        help=HELP,
        description=DESCRIPTION + listed,
        formatter_class=_RAW,
    )
    whats = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name, case in cases.items():
        what = whats.add_parser(name, description=case.text, formatter_class=_RAW)
        for field, option in case.options.items():
            what.add_argument(
                f"--{field}",
                type=int,
                default=option.default,
                metavar="N",
                help=f"{option.meaning} (default: {option.default})",
            )
        _add_json(what)
        if name == "inference":
            _add_networks(what)
        if name in ("stream", "targets"):
            _add_network(what)
        if name == "targets":
            _add_parts(what)
    what = whats.add_parser(
        "all", description=benchmark_cases.ALL, formatter_class=_RAW
    )
    _add_json(what)


def _add_json(parser) -> None:
    parser.add_argument(
        "--json", metavar="FILE", help="write the results as lines of JSON too"
    )


def _add_networks(parser) -> None:
    parser.add_argument(
        "--networks",
        metavar="NAME:PART,...",
        help="which networks, as the table names them (default: all); names are those "
        "of `jaxseg convert --list`",
    )
    parser.add_argument("--out", metavar="FILE", help="write the table as CSV too")


def _add_network(parser) -> None:
    parser.add_argument(
        "--network",
        metavar="NAME",
        help="the segmenter, by its name in `jaxseg convert --list` (default: "
        "DeepLabV3+ on ResNet-50)",
    )


def _add_parts(parser) -> None:
    parser.add_argument(
        "--parts",
        metavar="PART,...",
        help="encoder, rollout, update, network, stream, step, depthwise, population, "
        "plain (default: all, in this order)",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of networks; auto is bfloat16 on a GPU (default: %(default)s)",
    )


def run(args, rest: list[str]) -> None:
    """Time what the arguments say and print a line for each case."""
    commands = [args] if args.what != "all" else _all()
    for command in commands:
        _check(command)
    from jaxseg.benchmark import report
    from jaxseg.runtime import host

    # Both before jax computes.
    for command in commands:
        if command.what == "inference":
            if command.threads:
                host.use_cores(command.threads)
            host.keep_memory()
    lines = report.Report(args.json)
    for command in commands:
        if args.what == "all":
            print(f"\njaxseg benchmark {command.what}")
        _RUN[command.what](command, lines)


def _all() -> list[argparse.Namespace]:
    """Return the arguments of every case that `all` runs."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return [
        parser.parse_args(["benchmark", name, *case.short])
        for name, case in benchmark_cases.CASES.items()
        if case.short
    ]


def _check(args) -> None:
    for name, option in benchmark_cases.CASES[args.what].options.items():
        value = getattr(args, name)
        if value < option.least:
            raise UserError(
                f"--{name} is {value}; expected {option.least} or more; change it"
            )


def _inference(args, lines) -> None:
    from jaxseg.benchmark import inference, table, workload
    from jaxseg.runtime import host

    chosen = workload.NETWORKS
    if args.networks:
        chosen = [tuple(n.partition(":")[::2]) for n in args.networks.split(",")]
    workloads = workload.find(chosen, args.size)
    rows, peers = [], inference.PEERS
    _write_table(args.out, rows, table.columns(peers))
    print(
        f"on {lines.hardware}, {host.cores()} core(s) of it used; batch 1, medians of "
        f"{args.repeats}"
    )
    print(table.header(peers))
    for found in inference.compare(workloads, repeats=args.repeats):
        print(table.line(found, peers), flush=True)
        lines.add(_values(found))
        rows.append(table.row(found, peers, lines.hardware))
        _write_table(args.out, rows, table.columns(peers))


def _values(found) -> dict[str, object]:
    """Return what a line of JSON says of a network's timing."""
    return {
        "case": f"{found.network}:{found.part}",
        "input": found.input,
        "parameters": found.parameters,
        "seconds": {name: x._asdict() for name, x in found.seconds.items()},
        "ratio": {name: found.ratio(name) for name in found.seconds},
        "cpu_ratio": {name: found.cpu_ratio(name) for name in found.seconds},
        "missing": found.missing,
        "compile_seconds": found.compile_seconds,
        "difference": found.difference,
    }


def _rollout(args, lines) -> None:
    from jaxseg.benchmark import rollout

    sizes = rollout.Sizes(
        args.size, args.frames, args.trials, args.episodes, args.policies
    )
    lines.compare(rollout.compare(sizes, args.repeats), args.repeats)


def _train(args, lines) -> None:
    from jaxseg.benchmark import training

    found = training.compare(args.frames, args.trials, args.repeats)
    lines.compare(found, args.repeats)


def _stream(args, lines) -> None:
    from jaxseg.benchmark import stream

    model = stream.make_model(args.network or stream.NETWORK, args.size)
    lines.compare(stream.compare(model, args.repeats), args.repeats)


def _memory(args, lines) -> None:
    from jaxseg.benchmark import memory

    frames = (args.frames, 2 * args.frames)
    for row in memory.table(args.size, memory.TRIALS, frames, args.kept):
        lines.facts(
            f"rollout, {row.trials} trials, {row.frames} frames", row.megabytes()
        )


def _optimum(args, lines) -> None:
    from jaxseg.benchmark import optimum

    found = optimum.compare(args.frames, args.keys, args.repeats)
    lines.compare(found, args.repeats)


def _devices(args, lines) -> None:
    from jaxseg.benchmark import devices

    found = devices.compare(args.frames, args.trials, args.episodes, args.repeats)
    lines.compare(found, args.repeats)


def _targets(args, lines) -> None:
    from jaxseg.benchmark import measures, stream, targets

    network = args.network or stream.NETWORK
    fields = {name: getattr(args, name) for name in measures.Sizes._fields}
    sizes = measures.Sizes(**fields | {"network": network})
    parts = args.parts.split(",") if args.parts else targets.PARTS
    lines.targets(targets.measure(sizes, parts, args.minutes), sizes.precision)


def _write_table(path, rows, columns) -> None:
    """Write the table as it is so far, if there is to be a file."""
    from jaxseg.runtime import files

    if path:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        files.write_atomically(path, text.getvalue())


_RUN = {
    "inference": _inference,
    "rollout": _rollout,
    "train": _train,
    "stream": _stream,
    "memory": _memory,
    "optimum": _optimum,
    "devices": _devices,
    "targets": _targets,
}
