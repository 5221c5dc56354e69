"""The training loop: resume, update, log, validate, save, and stop cleanly.

Steps are counted from 1 to `steps`: batch s makes update s, the record of step s and
the checkpoint of step s hold what is known after update s. A run that was killed and
started again gives the same parameters and the same metrics file, bit for bit, as one
that was not, because batches and random keys are functions of the seed and the step.

Several processes (`runtime.distributed`) make the same steps together: each validates,
the first one writes metrics, and all stop after the same step when one is asked to.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.errors import UserError
from jaxseg.learning.train_state import TrainState
from jaxseg.runtime import (
    checkpoint,
    distributed,
    metrics,
    parallel,
    prefetch,
    progress,
)
from jaxseg.types import Array, Metrics

CHECKPOINTS = "checkpoints"
TRACE = "trace"

# How many updates may wait on the device behind the one that runs: enough to keep it
# busy, few enough that their batches fit into its memory, beside those placed ahead.
_IN_FLIGHT = 1
# Batches that lie on the device, or go there, while the update before is computed.
_PLACED_AHEAD = 1
# Updates before a trace, which compile.
_TRACE_AFTER = 2


class TrainingError(UserError):
    """Training went wrong; the last checkpoint is still good."""


class Trainer(NamedTuple):
    """One training task as functions; the loop does all the rest.

    Attributes:
      init_fn: returns the state before the first update.
      batch_fn: step -> host batch, from the seed and the step alone. It runs in a
        thread of its own, ahead of the updates.
      update_fn: (state, batch, step) -> (state, metrics); metrics are device scalars
        and must hold "loss". Where that is the mean of several, "NAME/loss" are those.
        It may donate the state.
      eval_fn: state -> metrics, or None to skip validation.
      best_metric: the one of `eval_fn` whose highest value keeps a checkpoint.
      place_fn: host batch -> the batch of `update_fn`, on its devices. It runs in a
        thread of its own too, while the update before is computed.
    """

    init_fn: Callable[[], TrainState]
    batch_fn: Callable[[int], Any]
    update_fn: Callable[[TrainState, Any, int], tuple[TrainState, Metrics]]
    eval_fn: Callable[[TrainState], Metrics] | None = None
    best_metric: str | None = None
    place_fn: Callable[[Any], Any] = lambda batch: batch


def run_loop(
    trainer: Trainer,
    run_folder: str | os.PathLike,
    *,
    steps: int,
    save_every: int,
    log_every: int,
    eval_every: int = 0,
    description: str = "train",
    tensorboard: bool = False,
    keep: int = 2,
    trace: int = 0,
) -> TrainState:
    """Train to `steps` updates from the last checkpoint in the folder, if there is one.

    Metrics go to metrics.jsonl in the folder, those of `eval_fn` under "eval/name".
    Beside them, times.jsonl has the seconds of a step, and how many of them it waited
    for its batch. Checkpoints go to checkpoints/: the last `keep` ones and the best.
    Every period is a number of steps; the last step is always logged and saved, and
    validated where `eval_every` is not 0. An interrupt (Ctrl-C, SIGTERM) finishes the
    step, saves and raises KeyboardInterrupt; a second one stops at once.

    Args:
      trace: updates to write a trace of, for XProf or Perfetto, to trace/; 0 = none.

    Returns:
      The state, where this process can read it.

    Raises:
      TrainingError: a loss or the parameters are not finite; names the step, and
        whose loss it is where there are several.
      KeyboardInterrupt: after an interrupt.
    """
    folder = Path(run_folder)
    with contextlib.ExitStack() as stack:
        saved = stack.enter_context(
            checkpoint.Checkpoints(folder / CHECKPOINTS, keep, trainer.best_metric)
        )
        start, state = _start(trainer, saved)
        if start >= steps:
            return parallel.local(state)
        if distributed.is_first():
            writer = metrics.MetricWriter(folder, step=start, tensorboard=tensorboard)
            bar = progress.bar(steps, start, description)
        else:
            writer, bar, trace = metrics.NoWriter(), progress.Silent(), 0
        stack.enter_context(writer)
        stack.enter_context(bar)
        schedule = _Schedule(steps, save_every, log_every, eval_every)
        updates = _Updates(trainer, folder, saved, writer, schedule, bar, start, state)
        stop, poll = stack.enter_context(_stop_signals()), distributed.StopPoll()
        made = stack.enter_context(
            prefetch.Prefetch(trainer.batch_fn, range(start + 1, steps + 1))
        )
        placed = stack.enter_context(
            prefetch.Prefetch(
                lambda step: trainer.place_fn(next(made)[1]),
                range(start + 1, steps + 1),
                depth=_PLACED_AHEAD,
            )
        )
        tracer = stack.enter_context(_Trace(folder, start + _TRACE_AFTER, trace))
        try:
            for step, batch in placed:
                with tracer.step(step):
                    updates.advance(step, batch, placed.waited)
                if poll.ask(stop.is_set()) and step < steps:
                    raise distributed.Stopped
        except KeyboardInterrupt as interrupt:
            if not distributed.fails_alone(type(interrupt)):
                updates.save_if_sound()
            raise
        saved.wait()
        if poll.last(stop.is_set()):
            # At the last step too, so that nothing else is started after it.
            raise distributed.Stopped
        return parallel.local(updates.state)


class _Schedule(NamedTuple):
    steps: int
    save_every: int
    log_every: int
    eval_every: int

    def saves(self, step: int) -> bool:
        return step % self.save_every == 0 or step == self.steps

    def logs(self, step: int) -> bool:
        return step % self.log_every == 0 or step == self.steps

    def validates(self, step: int) -> bool:
        return self.eval_every > 0 and (
            step % self.eval_every == 0 or step == self.steps
        )


class _Updates:
    """What changes while the loop runs: the state, and the losses not yet looked at."""

    def __init__(self, trainer, folder, saved, writer, schedule, bar, step, state):
        self._trainer, self._folder, self._saved = trainer, folder, saved
        self._writer, self._schedule, self._bar = writer, schedule, bar
        # The step and its state change in one assignment, as an interrupt may come
        # between any two.
        self._current: tuple[int, tuple[TrainState, Metrics]] = step, (state, {})
        self._settled = step
        self._unchecked: dict[int, Metrics] = {}
        self._clock = _Clock(step)

    @property
    def state(self) -> TrainState:
        return self._current[1][0]

    def advance(self, step: int, batch: Any, waited: float) -> None:
        """Do update `step` and all that is due after it.

        Args:
          waited: seconds that were waited for this and all batches before.
        """
        self._current = step, self._trainer.update_fn(self.state, batch, step)
        values = self._current[1][1]
        self._unchecked[step] = {n: x for n, x in values.items() if _is_loss(n)}
        waits_for = self._unchecked.get(step - _IN_FLIGHT)
        if waits_for is not None:
            jax.block_until_ready(waits_for)
        self._after(step, waited)
        self._settled = step
        self._bar.advance()

    def save_if_sound(self) -> None:
        """Save where an interrupt left a whole step and finite parameters."""
        step = self._current[0]
        if step == 0 or step != self._settled:
            return
        try:
            self._save(step, None)
        except TrainingError:
            return
        self._saved.wait()

    def _after(self, step: int, waited: float) -> None:
        schedule = self._schedule
        if schedule.logs(step):
            self._check_losses()
            values = _fetch(self._current[1][1])
            self._writer.write(step, values)
            times = self._clock.read(step, waited)
            self._writer.write_times(step, times)
            self._bar.note(loss=values["loss"], waits=times["waits"])
        found = None
        if schedule.validates(step) and self._trainer.eval_fn is not None:
            self._check_losses()
            found = _fetch(self._trainer.eval_fn(parallel.local(self.state)))
            self._writer.write(step, {f"eval/{k}": v for k, v in found.items()})
        best = found is not None and self._trainer.best_metric is not None
        if schedule.saves(step) or best:
            self._save(step, found)

    def _save(self, step: int, found: dict[str, float] | None) -> None:
        self._check_losses()
        if not _is_finite((self.state.params, self.state.model_state)):
            values = _fetch(self._current[1][1])
            wrong = [name for name, x in values.items() if not np.isfinite(x)]
            hint = f" (nor is {wrong[0]})" if wrong else ""
            raise self._error(f"parameters are not finite{hint}", step)
        self._saved.save(step, self.state, found)

    def _check_losses(self) -> None:
        """Raise for the first loss that is not finite, of all since the last check."""
        for step, losses in jax.device_get(self._unchecked).items():
            wrong = [name for name, x in losses.items() if not np.isfinite(x)]
            if wrong:
                # Where one of several is wrong, so is their mean.
                name = next((name for name in wrong if name != "loss"), "loss")
                whose = name.removesuffix("loss").rstrip("/")
                what = f"loss of {whose}" if whose else "loss"
                raise self._error(f"{what} is {float(losses[name])}", step)
        self._unchecked.clear()

    def _error(self, what: str, step: int) -> TrainingError:
        kept = self._saved.latest_step()
        rest = f"the checkpoint of step {kept} is kept" if kept else "nothing was saved"
        return TrainingError(
            f"the {what} at step {step} of {self._folder}; expected finite numbers, "
            f"{rest}; lower the learning rate or check the data of that step, and "
            "train in another run folder"
        )


class _Clock:
    """Reads what a step has cost since it was last asked; what came between is in."""

    def __init__(self, step: int):
        self._last = step, time.perf_counter(), 0.0

    def read(self, step: int, waited: float) -> dict[str, float]:
        """Return seconds a step, those waited for batches, and their share.

        What is waited is no more than an upper bound of the time for which devices had
        nothing to do: an update may still run meanwhile.
        """
        before, self._last = self._last, (step, time.perf_counter(), waited)
        steps, seconds, waits = (b - a for a, b in zip(before, self._last, strict=True))
        return {
            "step_seconds": seconds / steps,
            "wait_seconds": waits / steps,
            "waits": waits / seconds,
        }


class _Trace:
    """Writes a trace of a few updates of the device and of the host."""

    def __init__(self, folder: Path, after: int, count: int):
        self._folder, self._steps = folder / TRACE, range(after + 1, after + count + 1)
        self._on = False

    @contextlib.contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Stand around an update."""
        if step in self._steps and not self._on:
            jax.profiler.start_trace(self._folder)
            self._on = True
        with jax.profiler.StepTraceAnnotation("train", step_num=step):
            yield
        if self._on and step >= self._steps[-1]:
            self._stop()

    def __enter__(self) -> "_Trace":
        return self

    def __exit__(self, *_) -> None:
        if self._on:
            self._stop()

    def _stop(self) -> None:
        self._on = False
        jax.profiler.stop_trace()


def _start(trainer: Trainer, saved: checkpoint.Checkpoints) -> tuple[int, TrainState]:
    """Return the step and state to go on from, every array bound to its devices.

    A restored array is bound to its devices and a fresh one is not, so without this a
    state that mixes devices would fail only after the first restart.
    """
    arrays = jax.tree.map(jnp.asarray, trainer.init_fn())
    state = jax.tree.map(
        lambda x: x if x.committed else jax.device_put(x, x.sharding), arrays
    )
    return saved.restore_latest(state) or (0, state)


def _is_loss(name: str) -> bool:
    return name == "loss" or name.endswith("/loss")


def _fetch(values: Metrics) -> dict[str, float]:
    return {name: float(v) for name, v in jax.device_get(dict(values)).items()}


def _is_finite(tree: Any) -> bool:
    leaves = jax.tree.leaves(tree)
    if any(isinstance(x, jax.Array) and x.is_deleted() for x in leaves):
        return False
    floats = [x for x in leaves if jnp.issubdtype(x.dtype, jnp.inexact)]
    return bool(_all_finite(floats))


@jax.jit
def _all_finite(leaves: list[Array]) -> Array:
    finite = [jnp.isfinite(x).all() for x in leaves]
    return jnp.stack(finite).all() if finite else jnp.asarray(True)


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Turn the first interrupt into an event; let the second one through."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def first(number, frame):
        stop.set()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.default_int_handler)
        print(
            "\nstopping after this step; again to stop at once",
            file=sys.stderr,
            flush=True,
        )

    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.signal(name, first) for name in names}
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
