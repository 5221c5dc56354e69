"""What the process asks of the machine that it runs on."""

import contextlib
import ctypes
import os

import jax

from jaxseg.errors import UserError

# Of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4


def cores() -> int:
    """Return the number of cores that the process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_cores(count: int) -> None:
    """Hold this thread, and those that it starts, to `count` of the process's cores.

    Call it before jax computes, whose threads are then among them.

    Raises:
      UserError: more than there are, or a system that cannot.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UserError(
            "this system does not hold programs to some of its cores; expected Linux; "
            "leave out --threads"
        )
    if count > cores():
        raise UserError(
            f"--threads is {count}; expected at most {cores()}, as there are no more "
            "cores; change it"
        )
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def keep_memory() -> None:
    """Keep freed memory in the process, to be used again; before jax computes.

    On a CPU, XLA asks for the temporary memory of a program whenever it runs, 60 to 140
    MB for a DeepLab at 513 x 513. glibc takes so much from the system and gives it back
    every time; to clear the new pages takes up to a sixth of the run. It keeps the
    memory for the thread that asks, so that programs are also run by the one that
    starts them. Measured with glibc 2.36; a glibc that refuses so high a threshold
    is told to map no memory at all. Other C libraries are left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    # Older ones take 32 MiB at most; then the threshold would stay where it is, low.
    if not mallopt(_MMAP_THRESHOLD, 2**30):
        mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    with contextlib.suppress(AttributeError):
        jax.config.update("jax_cpu_enable_async_dispatch", False)
