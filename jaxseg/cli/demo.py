"""jaxseg demo: the whole system on freshly rendered videos."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HELP = "do everything, small, on rendered videos: the place to start"
DESCRIPTION = """\
Render synthetic face videos, train the segmenter N, the flow network F and the key
scheduler by reinforcement learning at two budgets (eta 0.06 and 0.14), and draw their
AKI-mIoU curve against fixed and random keys and the exact optimum. Takes about 10
minutes on two cores.

Everything lies below the output folder. Stopped at any moment, the same command goes on
where it was; when all is done it says so and shows the results again. The stages are
the commands `dataset`, `train` and `evaluate` with the preset `synthetic`.
"""
ETAS = (0.06, 0.14)
VIDEOS = {"A": 20, "B": 12, "C": 12}
FRAMES = {"A": 80, "B": 150, "C": 150}
SIZE = 160
ACTIVITY = 1.5


def add_parser(subparsers) -> None:
    """Add the sub-command to the console program."""
    parser = subparsers.add_parser(
        "demo",
        help=HELP,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out",
        default="runs/demo",
        metavar="FOLDER",
        help="where everything is written (default: %(default)s)",
    )
    parser.add_argument(
        "--preset",
        default="synthetic",
        choices=("synthetic", "smoke"),
        help="smoke is a walk through in a minute that learns nothing",
    )
    parser.add_argument("--seed", type=int, default=0)


def run(args, rest: list[str]) -> None:
    """Run every stage that is not done, then show the results."""
    from jaxseg.evaluation import comparison, tabulate

    demo = _Demo(Path(args.out), args.preset, args.seed)
    done = demo.is_done()
    found = demo.run()
    curve = demo.out / "curve"
    print()
    print(tabulate.curve_table(curve / comparison.CURVE_CSV))
    print()
    print(tabulate.comparison_lines(found))
    print()
    print("All of this is synthetic: rendered videos, small networks.")
    if done:
        print(f"{demo.out} was done before; delete it to run the demo again.")
    for name, path in (
        ("figure", curve / comparison.CURVE_PNG),
        ("table", curve / comparison.CURVE_CSV),
        ("overlay video", demo.out / "overlay.mp4"),
    ):
        print(f"{name + ':':<15}{path}")


class _Demo:
    """The stages of the demo, each of which is skipped where it is done."""

    def __init__(self, out: Path, preset: str, seed: int):
        self.out, self._preset, self._seed = out, preset, seed
        self._smoke = preset == "smoke"

    def is_done(self) -> bool:
        """Say whether nothing is left to do."""
        from jaxseg.runtime import runs

        folders = [self._folder(name) for name in ("segmenter", "flow", "curve")]
        folders += [self._folder("policy", eta) for eta in ETAS]
        overlay = self.out / "overlay.mp4"
        return all(runs.is_done(folder) for folder in folders) and overlay.is_file()

    def run(self) -> dict:
        """Do the stages in order, say how long each took, return the comparison."""
        from jaxseg.evaluation import comparison
        from jaxseg.learning import stages

        def train(name, eta=None):
            stages.train(self.config(name, eta), self._folder(name, eta))

        self._stage("render videos", self._render)
        self._stage("prepare frames and labels", self._prepare)
        self._stage("train the segmenter N", lambda: train("segmenter"))
        self._stage("train the flow network F", lambda: train("flow"))
        for eta in ETAS:
            self._stage(
                f"train the policy, eta {eta}", lambda eta=eta: train("policy", eta)
            )
        found = self._stage(
            "evaluate on set C",
            lambda: comparison.evaluate(self.config("evaluate"), self._folder("curve")),
        )
        self._stage("draw the overlay video", self._overlay)
        return found

    def config(self, name: str, eta: float | None = None) -> dict:
        """Return the resolved config of a stage, with this demo's folders."""
        from jaxseg.runtime import config

        changed = {"data.prepared": self.out / "data", "seed": self._seed}
        if name == "flow":
            changed["segmenter_run"] = self.out / "segmenter"
        if name == "policy":
            changed |= {"flow_run": self.out / "flow", "policy.eta": eta}
        if name == "evaluate":
            runs = tuple(str(self._folder("policy", eta)) for eta in ETAS)
            changed["policy_runs"] = runs
        overrides = [f"--config.{field}={value}" for field, value in changed.items()]
        return config.to_dict(
            config.load_config(
                f"configs/{name}.py:{self._preset}", overrides, packaged=True
            )
        )

    def _folder(self, name: str, eta: float | None = None) -> Path:
        return self.out / (name if eta is None else f"eta{round(100 * eta):02d}")

    def _stage(self, title: str, work: Callable[[], Any]) -> Any:
        print(f"== {title}", flush=True)
        start = time.monotonic()
        result = work()
        print(f"   {time.monotonic() - start:.0f} s", flush=True)
        return result

    def _render(self) -> None:
        import os

        from jaxseg.data.synthetic import render
        from jaxseg.runtime import progress

        with progress.bar(sum(VIDEOS.values()), 0, "videos") as bar:
            render.render_dataset(
                self.out / "videos",
                videos=dict.fromkeys("ABC", 2) if self._smoke else VIDEOS,
                frames=16 if self._smoke else FRAMES,
                size=80 if self._smoke else SIZE,
                activity=ACTIVITY,
                seed=self._seed,
                workers=os.cpu_count() or 1,
                progress=bar.at,
            )

    def _prepare(self) -> None:
        import os

        from jaxseg.data import prepare
        from jaxseg.runtime import progress

        with progress.bar(1, 0, "frames") as bar:
            prepare.prepare(
                self.out / "videos",
                self.out / "data",
                workers=os.cpu_count() or 1,
                progress=bar.at,
            )

    def _overlay(self) -> None:
        from jaxseg import model_file
        from jaxseg.evaluation import live
        from jaxseg.runtime import progress

        out = self.out / "overlay.mp4"
        if out.is_file():
            return
        video = min((self.out / "videos" / "splits" / "C.txt").read_text().split())
        path = self.out / "videos" / video / "vid.avi"
        model = model_file.load(self._folder("policy", ETAS[0]), model_file.PARTS)
        _, size = live.describe(path)
        box = live.landmark_box(path.parent / "annot", size)
        with progress.bar(live.count_frames(path), 0, "overlay") as bar:
            live.segment_video(
                model, path, out, box=box, precision="auto", progress=bar.advance
            )
