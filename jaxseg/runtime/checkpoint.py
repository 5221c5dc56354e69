"""Checkpoints of a training state; the only module that imports Orbax.

A checkpoint is kept complete or not at all: it is written under a temporary name while
training goes on, and renamed. Random keys and data positions are not saved, because
all draws are functions of the seed and the step.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from jaxseg.errors import UserError
from jaxseg.runtime import distributed, files

State = TypeVar("State")


class Checkpoints:
    """The checkpoints in one folder: the last few, and the best one by a metric."""

    def __init__(
        self,
        folder: str | os.PathLike,
        keep: int = 2,
        best_metric: str | None = None,
        read_only: bool = False,
    ):
        """Open a folder, or create it, and remove what interrupted saves left behind.

        Args:
          folder: where they are; one folder per step.
          keep: how many of the last ones stay.
          best_metric: the highest value of this metric keeps one more checkpoint.
          read_only: leave the folder as it is, to restore alone; another process may
            be saving there.
        """
        self._folder = Path(folder).absolute()
        self._best_metric = best_metric
        policies = [checkpoint_managers.LatestN(keep)]
        if best_metric is not None:
            policies.append(
                checkpoint_managers.BestN(
                    get_metric_fn=self._score,
                    n=1,
                    keep_checkpoints_without_metrics=False,
                )
            )
        if not read_only:
            with files.writing(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                create=not read_only,
                cleanup_tmp_directories=not read_only,
                best_fn=self._score if best_metric is not None else None,
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            ),
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "leaves": ocp.JsonCheckpointHandler(),
            },
        )

    def save(
        self, step: int, state: Any, metrics: dict[str, float] | None = None
    ) -> None:
        """Start to write the state after `step` steps; the arrays may be donated next.

        A step that is there already stays as it is.

        Raises:
          UserError: this or the save before it could not be written; also from `wait`,
            `close` and all that waits.
        """
        if step in self._manager.all_steps():
            return
        if self._best_metric is None:
            metrics = None
        else:
            # Without a value it ranks last, as one that is not a number does.
            metrics = {self._best_metric: math.nan} | (metrics or {})
            metrics = {name: float(value) for name, value in metrics.items()}
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    leaves=ocp.args.JsonSave(_describe(state)),
                ),
                metrics=metrics,
            )

    def restore_latest(self, template: State) -> tuple[int, State] | None:
        """Restore the newest checkpoint into the form of a template.

        Args:
          template: a state, or one of `jax.ShapeDtypeStruct`; its shapes, types and
            shardings are those of the result.

        Returns:
          The step and the state, or None where there is no checkpoint.

        Raises:
          UserError: the checkpoint does not fit the template, or cannot be read.
        """
        step = self.latest_step()
        return None if step is None else (step, self._restore(step, template))

    def restore_best(self, template: State) -> tuple[int, State] | None:
        """Restore the checkpoint with the best metric, as `restore_latest` does.

        Where no checkpoint has a metric, it is the newest one.
        """
        step = self.best_step()
        return None if step is None else (step, self._restore(step, template))

    def latest_step(self) -> int | None:
        """Return the step of the newest complete checkpoint, if any."""
        self.wait()
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Return the step of the best checkpoint, else of the newest, if any."""
        self.wait()
        best = self._manager.best_step() if self._best_metric is not None else None
        return self._manager.latest_step() if best is None else best

    def wait(self) -> None:
        """Wait until everything that was saved is on disk."""
        with self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish writing and let go of the folder."""
        with self._writing():
            self._manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        # Closing waits for all processes.
        if not distributed.fails_alone(kind):
            self.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            # What a full disk is to Orbax and to the library that writes for it.
            raise UserError(
                f"a checkpoint in {self._folder} cannot be written "
                f"({type(error).__name__}: {_first_line(error)}); expected a place "
                "with room and permission; make some and run the same command again"
            ) from error

    def _score(self, metrics: dict[str, float]) -> float:
        value = metrics[self._best_metric]
        return -math.inf if math.isnan(value) else value

    def _restore(self, step: int, template: State) -> State:
        leaves = self._read(step, "leaves", ocp.args.JsonRestore())
        self._check(step, leaves, _describe(template))
        abstract = jax.tree.map(_abstract, template)
        return self._read(step, "state", ocp.args.StandardRestore(abstract))

    def _read(self, step: int, item: str, args: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{item: args}))[
                item
            ]
        except Exception as error:
            # Orbax and what is below it raise whatever the broken file led them to.
            others = [s for s in self._manager.all_steps() if s != step]
            rest = f"goes on from step {max(others)}" if others else "starts again"
            raise UserError(
                f"the checkpoint {self._folder / str(step)} cannot be read "
                f"({type(error).__name__}: {_first_line(error)}); expected a complete "
                f"one; delete that folder and the run {rest}"
            ) from error

    def _check(self, step: int, found: dict[str, str], wanted: dict[str, str]) -> None:
        names = sorted(found.keys() | wanted.keys())
        wrong = [n for n in names if found.get(n) != wanted.get(n)]
        if wrong:
            listed = ", ".join(
                f"{n} found {found.get(n, 'nothing')} expected "
                f"{wanted.get(n, 'nothing')}"
                for n in wrong[:4]
            )
            more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
            raise UserError(
                f"the checkpoint {self._folder / str(step)} holds another state: "
                f"{listed}{more}; go on with the configuration and version that made "
                "it or use another run folder"
            )


def _describe(tree: Any) -> dict[str, str]:
    """Name every leaf, with its type and shape: "params/w" -> "float32[3, 4]"."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{leaf.dtype}{list(leaf.shape)}"
            if hasattr(leaf, "dtype")
            else type(leaf).__name__
        )
        for path, leaf in flat
    }


def _abstract(leaf: Any) -> Any:
    """Describe a leaf for Orbax, with a place: without one it wants the old devices."""
    if isinstance(leaf, np.generic):
        leaf = np.asarray(leaf)
    if not hasattr(leaf, "dtype") or isinstance(leaf, np.ndarray):
        return leaf
    place = getattr(leaf, "sharding", None)
    place = place or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else ""
