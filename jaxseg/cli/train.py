"""jaxseg train: train the segmenter, the flow network, or one or more policies."""

import argparse

HELP = "train N (segmenter), F (flow) or key schedulers (policy, population)"
DESCRIPTION = """\
Train one of the three networks, or policies of several budgets and seeds together. The
config file says which:

  jaxseg train --config=configs/segmenter.py:synthetic --run=runs/segmenter
  jaxseg train --config=configs/flow.py:synthetic --run=runs/flow
  jaxseg train --config=configs/policy.py:synthetic --run=runs/eta06 \\
      --config.policy.eta=0.06
  jaxseg train --config=configs/population.py:synthetic --run=runs/population

What follows the colon is a preset: vw300 (the paper's sizes), synthetic (the demo's,
minutes on two cores) or smoke (seconds). Any field of the config can be changed by
--config.GROUP.FIELD=VALUE.

The run folder then holds config.json, metrics.jsonl, times.jsonl, checkpoints/ and, at
the end, model.safetensors and DONE; of a population a folder like this for every
policy, such as runs/population/eta0.06-seed0. Started again with the same config, a run
goes on from its last checkpoint and gives the very result that it would have given
uninterrupted.

Several processes train one run together where srun starts them, or each with
  --config.runtime.coordinator=HOST:PORT --config.runtime.processes=N
  --config.runtime.process=I
"""


def add_parser(subparsers) -> None:
    """Add the sub-command to the console program."""
    parser = subparsers.add_parser(
        "train",
        help=HELP,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE[:PRESET]",
        help="a config file, for example configs/policy.py:synthetic",
    )
    parser.add_argument(
        "--run", required=True, metavar="FOLDER", help="the run folder, new or old"
    )


def run(args, rest: list[str]) -> None:
    """Train as the arguments say; `rest` holds --config.field=value overrides."""
    from jaxseg.cli import main
    from jaxseg.learning import stages
    from jaxseg.runtime import config, distributed, runs

    resolved = config.to_dict(config.load_config(args.config, rest))
    fields = {n: resolved["runtime"][n] for n in distributed.Settings._fields}
    with distributed.session(distributed.Settings(**fields), main.report):
        done = runs.is_done(args.run)
        path = stages.train(resolved, args.run)
        if distributed.is_first():
            before = f"{args.run} was finished before: {path}"
            print(before if done else f"wrote {path}")
