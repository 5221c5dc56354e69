"""Several processes that train together: one for each GPU, or one for each node.

All run the same command. Each makes the whole batch and the whole state, which are
functions of the configuration, and its devices work on their share; the first process
alone writes (checkpoints apart, which Orbax writes from all).
"""

import contextlib
import os
import re
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.errors import UserError

T = TypeVar("T")

# A process that is dead without a word is noticed after this long.
_HEARTBEAT_SECONDS = 60
# The first process goes last: the others die when it does.
_LAST_WORDS_SECONDS = 2.0


class Settings(NamedTuple):
    """Which process this is; the fields of `config.runtime`."""

    coordinator: str = ""  # host:port of the first process
    processes: int = 0  # 0 = as many as the Slurm step has, else 1
    process: int = -1  # 0 to processes - 1
    device_ids: tuple[int, ...] = ()  # of the node's GPUs, this process's; () = all


class Stopped(KeyboardInterrupt):
    """All processes stopped together and saved what they had."""


@contextlib.contextmanager
def session(settings: Settings, report: Callable[[BaseException], int]) -> Iterator:
    """Join the other processes, and leave together; nothing where there are none.

    A process that fails alone says why by `report`, which returns its exit code, and
    ends at once: if it waited for the others, they would wait for it as well.

    Raises:
      UserError: the settings are not those of one of several processes.
    """
    if not initialize(settings):
        yield
        return
    if is_first():
        print(
            f"{jax.process_count()} processes, {jax.device_count()} devices",
            file=sys.stderr,
        )
    try:
        yield
    except Stopped:
        jax.distributed.shutdown()
        raise
    except BaseException as error:
        code = report(error)
        sys.stdout.flush()
        sys.stderr.flush()
        if is_first():
            time.sleep(_LAST_WORDS_SECONDS)
        os._exit(code)
    jax.distributed.shutdown()


def initialize(settings: Settings, environment: Mapping[str, str] = os.environ) -> bool:
    """Join the other processes, as the settings or else Slurm say; False for none.

    Must come before anything asks JAX for a device.

    Raises:
      UserError: the settings are not those of one of several processes, nor of none.
    """
    by_hand = settings._replace(device_ids=()) != Settings()
    if settings.processes == 1 or not (by_hand or in_slurm_step(environment)):
        if settings.device_ids:
            raise UserError(
                f"runtime.device_ids is {tuple(settings.device_ids)} for one process "
                "alone; expected none, as it says which GPUs are whose; set "
                "CUDA_VISIBLE_DEVICES, or how many by --config.runtime.devices"
            )
        return False
    ids = list(settings.device_ids) or None
    if by_hand:
        _check(settings)
        jax.distributed.initialize(
            settings.coordinator,
            settings.processes,
            settings.process,
            ids,
            cluster_detection_method="deactivate",
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
        )
    else:
        jax.distributed.initialize(
            local_device_ids=ids or slurm_devices(environment),
            cluster_detection_method="slurm",
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
        )
    if threading.current_thread() is threading.main_thread():
        # JAX takes SIGTERM for a notice and stays; it is ours, and ends what loads.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    return True


def in_slurm_step(environment: Mapping[str, str]) -> bool:
    """Say whether `srun` started this process as one of several."""
    return int(environment.get("SLURM_STEP_NUM_TASKS") or 1) > 1


def slurm_devices(environment: Mapping[str, str]) -> list[int] | None:
    """Return which of the GPUs that Slurm shows it are this task's; None: JAX's rule.

    JAX takes one GPU a task, the one numbered as the task is on its node. That leaves
    GPUs idle with one task a node, and finds none with `--gpus-per-task`, where a task
    sees its own GPUs alone, numbered from 0.
    """
    shown = environment.get("CUDA_VISIBLE_DEVICES")
    if not shown:
        return None
    count = len(shown.split(","))
    alone = _tasks_of_node(environment) == 1
    return list(range(count)) if alone or count == 1 else None


def several() -> bool:
    """Say whether there are other processes."""
    return jax.process_count() > 1


def fails_alone(kind: type[BaseException] | None) -> bool:
    """Say whether the others may go on waiting for what this process will not do."""
    return kind is not None and several() and not issubclass(kind, Stopped)


def is_first() -> bool:
    """Say whether this is the process that writes."""
    return jax.process_index() == 0


def on_first(fn: Callable[[], None]) -> None:
    """Run a function on the first process, while the others wait for it.

    Raises:
      UserError: on the others, where it failed; there its own exception.
    """
    if not several():
        return fn()
    error = None
    if is_first():
        try:
            fn()
        except BaseException as found:
            error = found
    failed = from_first(error is not None)
    if error is not None:
        raise error
    if failed:
        raise UserError(
            "the first process could not begin; expected it to; its own message says "
            "what to do"
        )


def from_first(value: bool) -> bool:
    """Return the value that the first process has, once all have come here."""
    if not several():
        return value
    return bool(multihost_utils.broadcast_one_to_all(np.int32(value)))


def check_same(values: Mapping[str, str | int]) -> None:
    """Compare what all processes must have alike, once all have come here.

    Raises:
      UserError: on all of them; names what differs.
    """
    if not several():
        return
    hashes = [zlib.crc32(str(value).encode()) for value in values.values()]
    found = multihost_utils.process_allgather(np.array(hashes, np.uint32))
    wrong = [
        f"{name} ({value!r} in process {jax.process_index()})"
        for (name, value), column in zip(values.items(), found.T, strict=True)
        if (column != column[0]).any()
    ]
    if wrong:
        raise UserError(
            f"the processes differ in {', '.join(wrong)}; expected the same in all; "
            "give all of them the same --config.runtime, but for the process"
        )


def wait_for_all(name: str) -> None:
    """Wait until all processes have come here."""
    multihost_utils.sync_global_devices(name)


def mine(items: Sequence[T]) -> Sequence[T]:
    """Return this process's share of work that is done once for all."""
    return items[jax.process_index() :: jax.process_count()]


class StopPoll:
    """Tells all processes, at the same step, that one of them was asked to stop."""

    def __init__(self):
        self._pending = None
        if several():
            mesh = Mesh(np.array(jax.devices()), ("all",))
            self._share = NamedSharding(mesh, P("all"))
            whole = NamedSharding(mesh, P())
            self._largest = jax.jit(jnp.max, out_shardings=whole)

    def ask(self, stop: bool) -> bool:
        """Tell the others, and return what any of them said in the call before.

        Nothing waits for this call's own answer, so that devices do not run dry. All
        processes must ask equally often. One that is alone hears itself at once.
        """
        if not several():
            return stop
        before, self._pending = self._pending, self._start(stop)
        return before is not None and bool(before)

    def last(self, stop: bool) -> bool:
        """Tell the others, and wait for what they say now."""
        return bool(self._start(stop)) if several() else stop

    def _start(self, stop: bool) -> jax.Array:
        flag = np.full(1, stop, np.int32)
        flags = jax.make_array_from_callback(
            (self._share.mesh.size,), self._share, lambda _: flag
        )
        return self._largest(flags)


def _check(settings: Settings) -> None:
    host, _, port = settings.coordinator.rpartition(":")
    found = f"runtime.coordinator is {settings.coordinator!r}"
    if not host or not port.isdigit():
        raise UserError(
            f"{found}; expected host:port of the first process, the same for all; "
            "change --config.runtime.coordinator"
        )
    if settings.processes < 2 or not 0 <= settings.process < settings.processes:
        raise UserError(
            f"{found} for process {settings.process} of {settings.processes}; expected "
            "2 or more processes, counted from 0; change --config.runtime.process or "
            "--config.runtime.processes"
        )


def _tasks_of_node(environment: Mapping[str, str]) -> int | None:
    """Read, for example, 2 out of "4(x2),2" on the third node."""
    text = environment.get("SLURM_STEP_TASKS_PER_NODE", "")
    counts: list[int] = []
    for tasks, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        counts += [int(tasks)] * int(times or 1)
    node = int(environment.get("SLURM_NODEID") or 0)
    return counts[node] if node < len(counts) else None
