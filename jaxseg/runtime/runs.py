"""Run folders: which configuration a folder belongs to, and whether it is finished.

A run folder holds config.json (written first), whatever the stage writes, and DONE
(written last). A folder belongs to one configuration for ever: what is continued in
it must be the same experiment.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jaxseg
from jaxseg.errors import UserError
from jaxseg.runtime import files

CONFIG_FILE = "config.json"
DONE_FILE = "DONE"
_LOCK_FILE = ".lock"

# What may differ between the two halves of an interrupted run: where it computes and
# what it prints. Of what it computes only rounding may change; the precision of a
# policy's training is among its inputs.
VOLATILE_GROUPS = ("log", "runtime")


class Run(NamedTuple):
    """One experiment and the folder it lives in."""

    folder: Path
    stage: str
    config: dict[str, Any]
    hash: str
    inputs: dict[str, str]  # hex digests of what the run reads, by name


def open_run(
    path: str | os.PathLike,
    config: dict[str, Any],
    stage: str,
    inputs: dict[str, str] | None = None,
) -> Run:
    """Create the run folder, or open it again for the same stage and configuration.

    Args:
      inputs: hex digests of what the run reads, by name; the configuration knows such
        files by their paths alone. Not compared where None.

    Raises:
      UserError: the folder belongs to another configuration, stage or inputs, or it
        holds files but is not a run.
    """
    folder = Path(path)
    run = Run(folder, stage, config, config_hash(identity(config)), inputs or {})
    if (folder / CONFIG_FILE).exists():
        found = read_run(folder)
        _check_same(found, run)
        if inputs is None:
            return run._replace(inputs=found.inputs)
        _check_inputs(found, run)
        return run
    _check_free(folder)
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    record = {
        "stage": stage,
        "hash": run.hash,
        "versions": _versions(),
        "inputs": run.inputs,
        "config": config,
    }
    files.write_atomically(folder / CONFIG_FILE, json.dumps(record, indent=2) + "\n")
    return run


def read_run(path: str | os.PathLike) -> Run:
    """Read what a run folder says about itself.

    Raises:
      UserError: the folder is not a run, or its config.json cannot be read.
    """
    file = Path(path) / CONFIG_FILE
    try:
        record = json.loads(file.read_text())
        values = (record[name] for name in ("stage", "config", "hash"))
        return Run(Path(path), *values, record.get("inputs", {}))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{path} has no {CONFIG_FILE}; expected the folder of a run; "
            "give the folder that was the --run of a training command"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} cannot be read ({type(error).__name__}); expected the file that "
            "a training command wrote; restore it or use another run folder"
        ) from error


def wait_for_run(path: str | os.PathLike, seconds: float = 60.0) -> None:
    """Wait until a run folder that another process made shows here.

    Raises:
      UserError: it does not, so that it is not the same folder.
    """
    file, end = Path(path) / CONFIG_FILE, time.monotonic() + seconds
    while not file.exists():
        if time.monotonic() > end:
            raise UserError(
                f"{file}, which the first process has written, is not there on "
                f"{platform.node()}; expected a folder that all processes share; use "
                "another --run"
            )
        time.sleep(0.2)


@contextlib.contextmanager
def locked(path: str | os.PathLike) -> Iterator[None]:
    """Keep other processes from working in a run folder, which is made if need be.

    Raises:
      UserError: another process is working in it, or it cannot be written.
    """
    folder = Path(path)
    if folder.exists():
        _check_folder(folder)
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    busy = (
        f"another process is working in {folder}; expected none; wait for it or use "
        "another folder"
    )
    with files.locked(folder / _LOCK_FILE, busy):
        yield


def mark_done(path: str | os.PathLike, summary: dict[str, Any] | None = None) -> None:
    """Write the DONE marker, with a summary of JSON values, as the run's last act."""
    files.write_atomically(Path(path) / DONE_FILE, json.dumps(summary or {}) + "\n")


def is_done(path: str | os.PathLike) -> bool:
    """Say whether the run in this folder has finished."""
    return (Path(path) / DONE_FILE).exists()


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that must not change when a run goes on."""
    return {name: v for name, v in config.items() if name not in VOLATILE_GROUPS}


def config_hash(config: dict[str, Any]) -> str:
    """Return 12 hex digits that depend on the values alone, not on their order."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _check_same(found: Run, wanted: Run) -> None:
    if found.stage != wanted.stage:
        raise UserError(
            f"{found.folder} is a run of stage {found.stage}; expected {wanted.stage}; "
            "use another --run folder"
        )
    if found.hash != wanted.hash:
        raise UserError(
            f"{found.folder} was made with another configuration "
            f"({_differences(identity(found.config), identity(wanted.config))}); "
            f"expected hash {wanted.hash} and found {found.hash}; go on with the old "
            "values or use another --run folder"
        )


def _check_inputs(found: Run, wanted: Run) -> None:
    names = sorted(found.inputs.keys() | wanted.inputs.keys())
    changed = [n for n in names if found.inputs.get(n) != wanted.inputs.get(n)]
    if changed:
        raise UserError(
            f"{found.folder} was made with another content or value of "
            f"{', '.join(changed)}; expected the same; put the old one back or use "
            "another --run folder"
        )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; expected a folder; use another --run")


def _check_free(folder: Path) -> None:
    if not folder.exists():
        return
    _check_folder(folder)
    # Hidden files are what a killed process or a desktop leaves behind.
    names = [p.name for p in folder.iterdir()]
    names = sorted(name for name in names if not name.startswith("."))
    if names:
        raise UserError(
            f"{folder} is not a run but holds {', '.join(names[:3])}; expected an "
            "empty or a new folder; use another --run"
        )


def _differences(found: dict[str, Any], wanted: dict[str, Any], limit: int = 3) -> str:
    old, new = _flatten(found), _flatten(wanted)
    names = [n for n in sorted(old | new) if old.get(n, "-") != new.get(n, "-")]
    shown = [f"{n}: {old.get(n, '-')} there, {new.get(n, '-')} now" for n in names]
    more = [f"and {len(names) - limit} more"] if len(names) > limit else []
    return "; ".join(shown[:limit] + more)


def _flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, dict):
        return {prefix: json.loads(json.dumps(config))}
    flat = {}
    for name, value in config.items():
        flat |= _flatten(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


def _versions() -> dict[str, str]:
    found = {"jaxseg": jaxseg.__version__, "python": platform.python_version()}
    for name in ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "opencv-python"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found
