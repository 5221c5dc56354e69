"""jaxseg evaluate: compare schedulers by their AKI-mIoU curve."""

import argparse

HELP = "compare policies with rules and the optimum, or score N and F alone"
DESCRIPTION = """\
Score schedulers on a split that no network has seen, and draw their curve:

  jaxseg evaluate --config=configs/evaluate.py:synthetic --run=runs/curve

Every policy named in the config's policy_runs is scored as it samples and at a range of
thresholds, beside fixed intervals, random keys and the exact offline optimum. The run
folder then holds curve.csv (one row a point), curve.png and comparison.json (each
policy against random keys at the same average key interval, with a 95 % interval from a
paired bootstrap over videos). Clips that are finished are not computed again.

  jaxseg evaluate --config=configs/table1.py:synthetic --run=runs/table1

scores segmentation networks alone, at one scale and at several, and F between frames
(Table 1 of the paper), into table1.csv.

  jaxseg evaluate --config=configs/precision.py:synthetic --run=runs/precision

says what bfloat16 changes on the same frames, into precision.json. The other two
compute in bfloat16 on a GPU and in float32 elsewhere; --config.runtime.precision
chooses.
"""


def add_parser(subparsers) -> None:
    """Add the sub-command to the console program."""
    parser = subparsers.add_parser(
        "evaluate",
        help=HELP,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        default="configs/evaluate.py:synthetic",
        metavar="FILE[:PRESET]",
        help="a config file (default: %(default)s)",
    )
    parser.add_argument(
        "--run", required=True, metavar="FOLDER", help="the run folder, new or old"
    )


def run(args, rest: list[str]) -> None:
    """Evaluate as the arguments say; `rest` holds --config.field=value overrides."""
    from jaxseg.errors import UserError
    from jaxseg.evaluation import agreement, comparison, table1, tabulate
    from jaxseg.runtime import config

    resolved = config.to_dict(config.load_config(args.config, rest))
    stage = resolved.get("stage")
    if stage == "table1":
        path = table1.evaluate(resolved, args.run)
        print(tabulate.table1(path))
        print(f"table: {path}")
        return
    if stage == "precision":
        print(tabulate.precision_lines(agreement.evaluate(resolved, args.run)))
        return
    if stage != "evaluate":
        raise UserError(
            f"{args.config} has stage {stage!r}; expected evaluate, table1 or "
            "precision; use the configs of these names"
        )
    found = comparison.evaluate(resolved, args.run)
    print(tabulate.curve_table(f"{args.run}/{comparison.CURVE_CSV}"))
    print(tabulate.comparison_lines(found))
    print(f"figure: {args.run}/{comparison.CURVE_PNG}")
