import os
import subprocess
import sys

import pytest

from jaxseg.errors import UserError
from jaxseg.runtime import host

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")

# Prints how many new pages a large program needs when it runs again.
AGAIN = """
from jaxseg.runtime import host
host.keep_memory()
import resource
import jax, jax.numpy as jnp
from jaxseg.ops import winograd
fn = jax.jit(lambda x, k: winograd.conv(x, k, ((1, 1), (1, 1)), 1))
x, k = jnp.ones((1, 256, 256, 64)), jnp.ones((3, 3, 64, 64))
new = []
for _ in range(9):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    fn(x, k).block_until_ready()
    new.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(new[2:])[3])
"""


# Before it, what a glibc does whose thresholds end at 32 MiB.
OLDER = """
import ctypes
class Older:
    real = ctypes.CDLL(None)
    def __init__(self, _): pass
    def mallopt(self, name, value):
        return 0 if name == -3 and value > 2**25 else self.real.mallopt(name, value)
ctypes.CDLL = Older
"""


def _run(program):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


@LINUX
def test_freed_memory_is_used_again():
    (kept,) = map(int, _run(AGAIN))
    (older,) = map(int, _run(OLDER + AGAIN))
    (left,) = map(int, _run(AGAIN.replace("host.keep_memory()", "")))
    assert kept < 0.1 * left and older < 0.1 * left


@LINUX
def test_the_process_is_held_to_cores():
    held = "import os; from jaxseg.runtime import host; host.use_cores(1); "
    assert _run(held + "print(host.cores(), len(os.sched_getaffinity(0)))") == ["1"] * 2


@LINUX
def test_more_cores_than_there_are_are_an_error():
    with pytest.raises(UserError, match=f"at most {host.cores()}"):
        host.use_cores(host.cores() + 1)
