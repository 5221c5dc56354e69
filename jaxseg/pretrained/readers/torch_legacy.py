"""torch files before 1.6: pickles one after another, then the bare storages.

Source: torch/serialization.py, `_legacy_save`: a magic number, a version, a dict about
the machine, the object, the list of the storages' keys; then for each key the number
of its elements in 8 bytes and these. Numbers are little-endian on any machine.
"""

import os
import struct
from pathlib import Path

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import mapping, pickled, torch_tensors
from jaxseg.pretrained.readers.entries import (
    Checkpoint,
    Malformed,
    quoted,
    reading,
    shown,
)
from jaxseg.pretrained.readers.pickle_machine import Persistent

_WHAT = "a whole torch checkpoint"
_MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_PICKLE = b"\x8a\x0a" + _MAGIC.to_bytes(10, "little")  # after the protocol
_VERSION = 1001
_COUNT = struct.Struct("<q")
_TAR = slice(257, 262)


def matches(data: memoryview) -> bool:
    """Return whether a file starts as one of torch's, its tar form included."""
    return (data[0] == 0x80 and data[2:14] == _MAGIC_PICKLE) or data[_TAR] == b"ustar"


def open(path: str | os.PathLike) -> Checkpoint:
    """Return the tensors of a torch file; nothing in it is run.

    See `torch_names` for what they are called. The arrays are views of the file.

    Raises:
      UserError: it is damaged, holds no tensors by name, or is a tar file of torch
        before 0.1.10.
    """
    with reading(path, _WHAT):
        data = mapping.mapped(path)
        if data[_TAR] == b"ustar":
            raise UserError(
                f"{shown(path)} is a tar file, as torch before 0.1.10 wrote; expected "
                "a later torch checkpoint; save it again with a later torch"
            )
        value, persistent, keys, at = _pickles(data)
        found = _storages(data, at, keys, persistent)

        def read(storage: torch_tensors.Storage) -> memoryview:
            start = storage.offset * storage.itemsize
            size = storage.size * storage.itemsize
            if start + size > len(found[storage.key]):
                raise Malformed(f"storage {quoted(storage.key)} is too short")
            return found[storage.key][start : start + size]

        available = mapping.allowance(data)
        entries = torch_tensors.entries(value, read, path, available)
    return Checkpoint("torch (before 1.6)", Path(path), entries)


def _pickles(
    data: memoryview,
) -> tuple[object, list[Persistent], list[str], int]:
    """Return the object, what it refers to, the storages' keys and their start."""
    magic, at = pickled.load(data)
    version, at = pickled.load(data, at)
    if magic != _MAGIC or version != _VERSION:
        raise Malformed("it does not start as a torch file")
    machine, at = pickled.load(data, at)
    if not isinstance(machine, dict):
        raise Malformed("it says nothing about the machine that wrote it")
    persistent = []
    value, at = pickled.load(data, at, persistent)
    keys, at = pickled.load(data, at)
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise Malformed("it has no list of its storages")
    return value, persistent, keys, at


def _storages(
    data: memoryview, at: int, keys: list[str], persistent: list[Persistent]
) -> dict[str, memoryview]:
    """Return the bytes of the storages; only what refers to them tells their types."""
    referred = [torch_tensors.storage(one) for one in persistent]
    sizes = {storage.key: storage.itemsize for storage in referred}
    found = {}
    for key in keys:
        if key in found:
            raise Malformed(f"storage {quoted(key)} is there twice")
        if sizes.get(key) is None:
            raise Malformed(f"storage {quoted(key)} is of no known type")
        if at + _COUNT.size > len(data):
            raise Malformed(f"it ends before storage {quoted(key)}")
        (count,) = _COUNT.unpack_from(data, at)
        at += _COUNT.size
        if not 0 <= count <= (len(data) - at) // sizes[key]:
            raise Malformed(
                f"storage {quoted(key)} of {count} numbers at byte {at} does not fit"
            )
        found[key] = data[at : at + count * sizes[key]]
        at += count * sizes[key]
    missing = sizes.keys() - found.keys()
    if missing:
        raise Malformed(f"it lacks storage {quoted(sorted(missing)[0])}")
    return found
