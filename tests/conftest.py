"""Settings of every test: several CPU devices, quick compilation, reference files."""

import gc
import os
import sys
import tempfile
from pathlib import Path

NUM_DEVICES = 4

# JAX reads these once, when it starts its backend: before any test imports it. They
# replace what the environment says, which may name other devices.
os.environ["JAX_PLATFORMS"] = "cpu"
_FLAGS = {
    "--xla_force_host_platform_device_count": NUM_DEVICES,
    # A slow machine with few cores would otherwise abort inside an all-reduce.
    "--xla_cpu_collective_call_terminate_timeout_seconds": 300,
}
_OTHERS = [
    flag
    for flag in os.environ.get("XLA_FLAGS", "").split()
    if flag.partition("=")[0] not in _FLAGS
]
os.environ["XLA_FLAGS"] = " ".join(
    _OTHERS + [f"{name}={value}" for name, value in _FLAGS.items()]
)

# Most of the suite's time is compilation, and most of that is LLVM's optimization,
# which small arrays do not repay. JAX_DISABLE_MOST_OPTIMIZATIONS=0 tests with it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Runs that are started again, here or in a process of their own, compile the same
# programs: the first of a session keeps them, for its workers too. No session sees
# those of another.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="jaxseg-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import hypothesis  # noqa: E402
import pytest  # noqa: E402

# Compile time counts as run time, so a deadline would fail at random.
hypothesis.settings.register_profile("jaxseg", deadline=None, derandomize=True)
hypothesis.settings.load_profile("jaxseg")


_SYSTEM = "tests/system"


def pytest_collection_modifyitems(items):
    """Begin with the longest share, the system's."""
    items.sort(key=lambda item: not item.nodeid.startswith(_SYSTEM))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep a file on one worker, and the system's tests, which share a demo."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return _SYSTEM if nodeid.startswith(_SYSTEM) else nodeid.split("::")[0]

    return ByFile(config, log)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Give a file's compiled programs back, which would grow to gigabytes."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def shared():
    """Return a function from a relative path to a reference file outside the tree.

    Tests that ask for a file are skipped where JAXSEG_SHARED is unset; where it is
    set, a missing file is a failure.
    """
    root = os.environ.get("JAXSEG_SHARED")

    def path(relative: str) -> Path:
        if not root:
            pytest.skip(f"JAXSEG_SHARED is unset, so there is no {relative}")
        found = Path(root, relative)
        if not found.exists():
            pytest.fail(f"JAXSEG_SHARED is set to {root} but {found} does not exist")
        return found

    return path
