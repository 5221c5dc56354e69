"""The console program `jaxseg`: finds the command, and turns errors into exit codes.

A command is a module `jaxseg.cli.<name>` with `add_parser(subparsers)`, which adds the
parser of that name, and `run(args, rest)`, which returns an exit code or None for 0.
Modules import jax and what needs it only within `run`, so that help and mistakes cost
no time. A command with the option `--config` gets `--config.field=value` in `rest`;
any other argument that its parser does not know is an error.

Exit codes: 0 done, 1 a fault of the program, 2 a mistake in what was given, 130 stopped
by an interrupt, 141 the reader of the output went away.
"""

import argparse
import functools
import importlib
import os
import re
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

import jaxseg
from jaxseg.errors import UserError

COMMANDS = (
    "demo",
    "dataset",
    "convert",
    "features",
    "train",
    "take",
    "evaluate",
    "segment",
    "benchmark",
)

_OVERRIDE = re.compile(r"--(no)?config\.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The interpreter flushes standard output once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (UserError, KeyboardInterrupt) as error:
        return report(error)


def report(error: BaseException) -> int:
    """Say on standard error what went wrong; return the exit code."""
    if isinstance(error, UserError):
        print(f"jaxseg: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if isinstance(error, KeyboardInterrupt):
        print("jaxseg: stopped; run the same command again to go on", file=sys.stderr)
        return 130
    traceback.print_exception(error)
    return 1


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take the `--config.field` arguments out of a command line.

    `--config.field value` comes out as one string with an equals sign.

    Returns:
      The overrides, and all other arguments, each in their order.
    """
    overrides: list[str] = []
    others: list[str] = []
    waits = False
    for argument in argv:
        if waits and not argument.startswith("--"):
            overrides[-1] += f"={argument}"
            waits = False
        elif _OVERRIDE.match(argument):
            overrides.append(argument)
            waits = "=" not in argument and not argument.startswith("--no")
        else:
            others.append(argument)
            waits = False
    return overrides, others


def _run(argv: Sequence[str]) -> int:
    modules = {name: importlib.import_module(f"jaxseg.cli.{name}") for name in COMMANDS}
    parser = _parser(modules)
    overrides, others = split_overrides(argv)
    args = parser.parse_args(others)
    if overrides and not hasattr(args, "config"):
        parser.error(f"{args.command} takes no configuration: {' '.join(overrides)}")
    return modules[args.command].run(args, overrides) or 0


def _parser(modules: dict[str, ModuleType]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxseg",
        description=jaxseg.__doc__,
        allow_abbrev=False,
        # With deeper steps the longest command and its help would not share a line.
        formatter_class=functools.partial(argparse.HelpFormatter, indent_increment=1),
    )
    parser.add_argument(
        "--version", action="version", version=f"jaxseg {jaxseg.__version__}"
    )
    subparsers = parser.add_subparsers(
        dest="command",
        metavar="command",
        required=True,
        parser_class=functools.partial(argparse.ArgumentParser, allow_abbrev=False),
    )
    for module in modules.values():
        module.add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
