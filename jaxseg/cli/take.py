"""jaxseg take: one policy of a population as a run of its own."""

import argparse

HELP = "take one policy out of a population that trains or has trained"
DESCRIPTION = """\
Write one policy of a population (configs/population.py) into a run folder of its own,
as the population's last checkpoint has it, finished or not:

  jaxseg take runs/population eta0.06-seed0 runs/eta06

The folder serves every command that takes the run of a policy. `jaxseg train` with the
config of that policy alone (the same fields, --config.policy.eta, --config.seed, and
--config.policy.clip_seed of the population's seed) goes on with it by itself. A
finished population needs none of this: it has such a folder for every policy.
"""


def add_parser(subparsers) -> None:
    """Add the sub-command to the console program."""
    parser = subparsers.add_parser(
        "take",
        help=HELP,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="run folder of a population")
    parser.add_argument("point", metavar="POINT", help="a policy: etaETA-seedSEED")
    parser.add_argument("out", metavar="OUT", help="run folder to write, new")


def run(args, rest: list[str]) -> None:
    """Take the policy out as the arguments say."""
    from jaxseg.learning import taking

    taken = taking.take(args.run, args.point, args.out)
    print(f"wrote {args.out}: after {taken.step} of {taken.steps} updates")
