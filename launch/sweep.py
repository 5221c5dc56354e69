"""Start every point of a sweep file.

A sweep file defines `CONFIG`, a configuration such as "configs/policy.py:synthetic",
and `sweep(add)`, which calls `add(**{"policy.eta": 0.06, "seed": 1})` for every point.
Every point is one `jaxseg train` in a folder of its own. That returns at once where the
folder is finished, goes on where it was interrupted and fails where it belongs to
another configuration, so the same command may be repeated.
"""

import argparse
import importlib.util
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Point(NamedTuple):
    """One experiment of a sweep."""

    name: str
    overrides: dict[str, Any]
    folder: Path
    argv: list[str]


def load_points(sweep_file: str, out: str) -> list[Point]:
    """Read a sweep file into points with run folders below `out`.

    Raises:
      SystemExit: the file is missing, is no sweep, has no point or the same one twice.
    """
    if not Path(sweep_file).is_file():
        raise SystemExit(f"there is no sweep file {sweep_file}; check --sweep")
    spec = importlib.util.spec_from_file_location("sweep_file", sweep_file)
    if spec is None:
        raise SystemExit(f"{sweep_file} is not a Python file; expected a .py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "CONFIG") or not hasattr(module, "sweep"):
        raise SystemExit(f"{sweep_file} must define CONFIG and sweep(add)")
    found: list[dict[str, Any]] = []
    module.sweep(lambda **overrides: found.append(overrides))
    points = [make_point(module.CONFIG, overrides, out) for overrides in found]
    names = [point.name for point in points]
    if not points or len(set(names)) < len(names):
        same = sorted({name for name in names if names.count(name) > 1})
        raise SystemExit(
            f"{sweep_file} adds {', '.join(same) or 'nothing'}; "
            "expected at least one point and each one once"
        )
    return points


def make_point(config: str, overrides: dict[str, Any], out: str) -> Point:
    """Build the run name, the folder and the command of one point."""
    # The last part of a field's path says enough, unless two end alike.
    last = [path.rpartition(".")[2] for path in overrides]
    short = last if len(set(last)) == len(last) else list(overrides)
    name = "-".join(f"{n}={_text(v)}" for n, v in zip(short, overrides.values()))
    name = name.replace("/", "_").replace(" ", "") or "default"
    folder = Path(out) / name
    argv = [sys.executable, "-m", "jaxseg.cli.main", "train", f"--config={config}"]
    argv += [f"--config.{path}={_text(v)}" for path, v in overrides.items()]
    return Point(name, overrides, folder, [*argv, f"--run={folder}"])


def run_local(points: Sequence[Point]) -> int:
    """Run points one after another; go on after a failure; return the exit code."""
    results = {}
    for number, point in enumerate(points, start=1):
        print(f"[{number}/{len(points)}] {point.name}", flush=True)
        code = subprocess.run(point.argv, check=False).returncode
        results[point.name] = "done" if code == 0 else f"failed with exit code {code}"
    width = max(map(len, results))
    print("\n".join(f"{name:{width}}  {result}" for name, result in results.items()))
    return int(any(result.startswith("failed") for result in results.values()))


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, write points.json and start the points."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sweep", required=True, help="configs/sweeps/<name>.py")
    parser.add_argument("--out", required=True, help="folder of the run folders")
    parser.add_argument(
        "--backend",
        choices=["local"],
        default="local",
        help="local: one after another on this machine",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="print the commands and do nothing"
    )
    args = parser.parse_args(argv)
    points = load_points(args.sweep, args.out)
    if args.dry_run:
        print("\n".join(shlex.join(point.argv) for point in points))
        return 0
    _write(points, Path(args.out) / "points.json")
    try:
        return run_local(points)
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130


def _write(points: Sequence[Point], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [
        {"name": p.name, "overrides": p.overrides, "run": str(p.folder), "argv": p.argv}
        for p in points
    ]
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(records, indent=2) + "\n")
    temporary.replace(path)


def _text(value: Any) -> str:
    return str(tuple(value)) if isinstance(value, (list, tuple)) else str(value)


if __name__ == "__main__":
    sys.exit(main())
