"""Damage sample files in thousands of ways and see what the readers make of it.

    python -m tests.pretrained.fuzz --format tf_v2 --count 10000
    python -m tests.pretrained.fuzz --format tf_v2 --count 2000 --convert

A mutant may be read or refused with a UserError of one line. Anything else is a
failure: another exception, a crash, more than 10 s, or more memory than four times the
file and 64 MiB. The mutants depend on the seed and their number alone.

With --convert the samples are whole networks, and every mutant goes through the
conversion to a model file. One that is refused must leave nothing where that would be,
one that is converted a file with every tensor of the network.
"""

import argparse
import collections
import contextlib
import faulthandler
import functools
import importlib
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

from jaxseg import convert
from jaxseg.errors import UserError
from jaxseg.pretrained import catalogue
from jaxseg.runtime import weights
from tests.pretrained import samples, tables, whole

SECONDS = 10
MEMORY_FACTOR, MEMORY_SLACK = 4, 64 << 20
_HUGE = [1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]


class Format(NamedTuple):
    """Hold how samples of a format are made, and what reads them.

    A reader is a module whose `open(path)` returns a Checkpoint.
    """

    reader: str
    make: Callable[[Path], Path]  # writes a sample into an empty folder
    # Makes half of the mutants, where checksums would find nearly all others: gets a
    # whole file, returns one with damage behind checksums that are right.
    inside: Callable[[random.Random, bytes], bytes] | None = None


class Result(NamedTuple):
    """Hold what became of one mutant."""

    number: int
    outcome: str  # "read", "refused" or "FAILED ..."
    seconds: float
    memory: int  # bytes by which the process grew
    allowed: int  # bytes


class _Hang(BaseException):
    pass


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Return bytes with one to four kinds of damage."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(_MUTATIONS)(rng, out)
    return bytes(out)


def _flip(rng, out):
    for _ in range(rng.choice((1, 1, 8))):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)


def _set_bytes(rng, out):
    at, stop = _range(rng, out, 16)
    out[at:stop] = bytes([rng.choice((0, 255))]) * (stop - at)


def _truncate(rng, out):
    del out[rng.randint(0, len(out)) :]


def _delete(rng, out):
    at, stop = _range(rng, out, 256)
    del out[at:stop]


def _duplicate(rng, out):
    at, stop = _range(rng, out, 256)
    out[at:at] = out[at:stop] * rng.choice((1, 1, 40))


def _insert(rng, out):
    at, _ = _range(rng, out, 1)
    out[at:at] = rng.randbytes(rng.randint(1, 64))


def _overwrite_integer(rng, out):
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    value = (rng.choice(_HUGE) & (1 << 8 * size) - 1).to_bytes(size, order)
    at, _ = _range(rng, out, 1)
    out[at : at + size] = value[: max(0, len(out) - at)]


def _overwrite_varint(rng, out):
    at, _ = _range(rng, out, 1)
    value = tables.varint(rng.choice(_HUGE))
    if rng.random() < 0.5:
        out[at : at + 1] = value
    else:
        out[at : at + len(value)] = value[: max(0, len(out) - at)]


def _splice(rng, out):
    at, stop = _range(rng, out, 512)
    to, _ = _range(rng, out, 1)
    piece = out[at:stop]
    out[to : to + len(piece)] = piece


def _range(rng, out, longest):
    at = rng.randint(0, len(out))
    return at, min(len(out), at + rng.randint(1, longest))


_MUTATIONS = (
    _flip,
    _flip,
    _set_bytes,
    _truncate,
    _delete,
    _duplicate,
    _insert,
    _overwrite_integer,
    _overwrite_varint,
    _splice,
)


def _sample_arrays():
    rng = np.random.default_rng(5)
    kinds = [d for d in tables.KINDS if d.itemsize < 8]
    arrays = {
        f"net/layer_{i}/weights": (rng.standard_normal((3, i + 1)) * 9).astype(kind)
        for i, kind in enumerate(kinds)
    }
    arrays["net/parts"] = rng.standard_normal((6, 5)).astype("<f4")
    arrays["net/empty"] = np.zeros((0, 3), "<f4")
    arrays["step"] = np.array(7, "<i8")
    return arrays


_SLICES = {"net/parts": [[(0, 2), None], [(2, 4), (0, 3)], [(2, 4), (3, 2)]]}


def _make_tf_v2(folder: Path) -> Path:
    prefix = folder / "model.ckpt"
    arrays = _sample_arrays()
    tables.write_v2(prefix, arrays, _SLICES, 2, ["names"], block_size=300)
    return prefix


def _make_tf_v2_snappy(folder: Path) -> Path:
    prefix = folder / "model.ckpt"
    compress = tables.literal_snappy
    tables.write_v2(prefix, _sample_arrays(), compress=compress, block_size=300)
    return prefix


def _make_tf_v1(folder: Path) -> Path:
    path = folder / "model.ckpt"
    tables.write_v1(path, _sample_arrays(), _SLICES, ["names"], block_size=300)
    return path


def _inside_table(rng: random.Random, data: bytes) -> bytes:
    if data[-8:] != tables.sstable.MAGIC:
        return mutate(rng, data)
    if rng.random() < 0.3:
        return tables.reseal(mutate(rng, data))
    records = tables.records_of(data)
    for _ in range(rng.choice((1, 1, 2, 10))):
        at = rng.randrange(len(records))
        key, value = records[at]
        if rng.random() < 0.9:
            records[at] = key, mutate(rng, value)
        else:
            records[at] = mutate(rng, key), value
    compress = rng.choice((None, None, tables.literal_snappy))
    return tables.table(records, block_size=300, compress=compress)


_READERS = "jaxseg.pretrained.readers"
_inside_zip = functools.partial(samples.damage_zip, mutate)
FORMATS: dict[str, Format] = {
    "caffe": Format(
        f"{_READERS}.caffe",
        samples.make_caffe,
        functools.partial(samples.damage_message, mutate),
    ),
    "npz": Format(f"{_READERS}.npz", samples.make_npz, _inside_zip),
    "npz_deflated": Format(f"{_READERS}.npz", samples.make_npz_deflated, _inside_zip),
    "safetensors": Format(
        f"{_READERS}.safetensors_file",
        samples.make_safetensors,
        functools.partial(samples.damage_header, mutate),
    ),
    "tf_v1": Format(f"{_READERS}.tf_v1", _make_tf_v1, _inside_table),
    "tf_v2": Format(f"{_READERS}.tf_v2", _make_tf_v2, _inside_table),
    "tf_v2_snappy": Format(f"{_READERS}.tf_v2", _make_tf_v2_snappy, _inside_table),
    "torch_legacy": Format(
        f"{_READERS}.torch_legacy", samples.make_torch_legacy, samples.damage_pickle
    ),
    "torch_zip": Format(f"{_READERS}.torch_zip", samples.make_torch_zip, _inside_zip),
}


class _Reading:
    """Read everything in samples that have all that a format can have."""

    def __init__(self, name: str):
        self._kind = FORMATS[name]
        self._reader = importlib.import_module(self._kind.reader)

    def make(self, folder: Path) -> Path:
        return self._kind.make(folder)

    def attempt(self, path: Path) -> None:
        for entry in self._reader.open(path).entries.values():
            _read(entry)

    def check(self, outcome: str) -> str:
        return outcome


class _Converting:
    """Convert samples that are whole networks to model files.

    The shapes of the network are worked out once, not for every mutant.
    """

    def __init__(self, name: str):
        self._name, self._known = name, whole.known(name)
        settings = catalogue.settings_of(self._known, None)
        self._template = convert.template(settings)
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-out-")
        self._out = Path(self._folder.name, "model.safetensors")

    def make(self, folder: Path) -> Path:
        return whole.make(self._name, folder)

    def attempt(self, path: Path) -> None:
        with (
            mock.patch.dict(catalogue.MODELS, {whole.NAME: self._known}),
            mock.patch.object(convert, "template", lambda settings: self._template),
        ):
            convert.convert(path, self._out, whole.NAME)

    def check(self, outcome: str) -> str:
        """Look at what was left behind, and remove it."""
        left = sorted(path.name for path in self._out.parent.iterdir())
        wanted = [self._out.name] if outcome == "read" else []
        if left != wanted and not outcome.startswith("FAILED"):
            outcome = f"FAILED {outcome} and left {', '.join(left) or 'nothing'}"
        if outcome == "read":
            try:
                found, _ = weights.load_weights(self._out)
                weights.check_like(self._template, found, "a mutant")
            except UserError as error:
                outcome = f"FAILED model file: {str(error):.200}"
        for name in left:
            self._out.with_name(name).unlink()
        return outcome


def run(
    name: str,
    seed: int,
    numbers: range,
    measure: bool = False,
    converting: bool = False,
):
    """Yield the Result of each mutant of a format, in this process."""
    subject = (_Converting if converting else _Reading)(name)
    yield from _run(subject, name, seed, numbers, measure)


def _run(subject, name, seed, numbers, measure):
    kind = FORMATS[name]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        path = subject.make(Path(temporary))
        originals = {p: p.read_bytes() for p in sorted(Path(temporary).iterdir())}
        found = subject.check(_outcome(subject, path, temporary))
        assert found == "read", f"the sample is not whole: {found}"
        for number in numbers:
            rng = random.Random(f"{name} {seed} {number}")
            victim = rng.choice(list(originals))
            deep = kind.inside if rng.random() < 0.5 else None
            mutant = (deep or mutate)(rng, originals[victim])
            victim.write_bytes(mutant)
            size = sum(p.stat().st_size for p in originals)
            yield _watched(subject, path, temporary, number, size, measure)
            victim.write_bytes(originals[victim])


def _watched(subject, path, folder, number, size, measure):
    allowed = MEMORY_FACTOR * size + MEMORY_SLACK
    before = _reset_peak() if measure else 0
    start = time.perf_counter()
    outcome = _outcome(subject, path, folder)
    seconds = time.perf_counter() - start
    grown = max(0, _memory("VmHWM") - before) if measure else 0
    outcome = subject.check(outcome)
    if outcome in ("read", "refused") and seconds > SECONDS:
        outcome = "FAILED slow"
    if outcome in ("read", "refused") and grown > allowed:
        outcome = "FAILED memory"
    return Result(number, outcome, seconds, grown, allowed)


def _outcome(subject, path, folder):
    """Return what happens to a checkpoint."""
    try:
        with _alarm():
            subject.attempt(path)
        return "read"
    except UserError as error:
        text = str(error)
        if "\n" in text or str(folder) not in text or not text.isprintable():
            return f"FAILED message: {text!r:.300}"
        return "refused"
    except _Hang:
        return "FAILED hang"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"FAILED {type(error).__name__}: {str(error):.200}"


def _read(entry):
    """Read a tensor; one that says it holds no numbers may refuse."""
    try:
        array = entry.read()
    except UserError:
        if entry.dtype.hasobject:
            return
        raise
    if array.shape != entry.shape or array.dtype != entry.dtype:
        raise AssertionError(f"{array.shape} {array.dtype} for {entry}")


@contextlib.contextmanager
def _alarm():
    def ring(*_):
        raise _Hang

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    # An alarm waits for compiled code to return; this ends the process.
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def _memory(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    return 0


def _reset_peak():
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _work(args):
    """Print the results as lines of JSON; the parent sees where a crash came."""
    subject = (_Converting if args.convert else _Reading)(args.format)
    limit = _memory("VmSize") + MEMORY_SLACK + (4 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    numbers = range(args.start, args.count)
    for result in _run(subject, args.format, args.seed, numbers, True):
        print(json.dumps(result), flush=True)


def _supervise(args):
    """Yield all results, starting another worker after one that died."""
    start, count = 0, args.count
    while start < count:
        hung = False
        command = [sys.executable, "-m", __spec__.name, "--worker"]
        command += [f"--format={args.format}", f"--seed={args.seed}"]
        command += [f"--start={start}", f"--count={count}"]
        command += ["--convert"] * args.convert
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            for line in worker.stdout:
                result = Result(*json.loads(line))
                start = result.number + 1
                yield result
                hung = result.outcome == "FAILED hang"
                if hung:  # and may still hold memory or locks
                    worker.kill()
                    break
        if start < count and not hung:
            yield Result(start, f"FAILED exit {worker.returncode}", 0.0, 0, 0)
            start += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--format", choices=sorted(FORMATS), required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--convert", action="store_true", help="to model files")
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return _work(args)
    counts, slowest, grown, failures = collections.Counter(), 0.0, 0, 0
    for result in _supervise(args):
        counts[result.outcome.split(":")[0]] += 1
        slowest, grown = max(slowest, result.seconds), max(grown, result.memory)
        if result.outcome.startswith("FAILED"):
            failures += 1
            print(f"mutant {result.number}: {result.outcome}", file=sys.stderr)
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    print(
        f"{args.format}: {args.count} mutants, {kinds}, {failures} failures; slowest "
        f"{slowest:.2f} s, most memory {grown / 2**20:.1f} MiB"
    )
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
