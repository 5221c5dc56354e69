"""torch files since 1.6: a zip file with a pickle and one member for each storage.

Source: torch/serialization.py, `_save`. In a folder of any name lie data.pkl, data/KEY
for the storage of that key, and byteorder.
"""

import functools
import os
import re
from pathlib import Path

from jaxseg.pretrained.readers import archive, mapping, pickled, torch_tensors
from jaxseg.pretrained.readers.entries import Checkpoint, Malformed, quoted, reading

_WHAT = "a whole torch checkpoint"
_PICKLE = re.compile(r"([^/]*)/data\.pkl")


def matches(members: archive.Archive) -> bool:
    """Return whether a zip file is one of torch's."""
    return any(_PICKLE.fullmatch(name) for name in members.members)


def open(path: str | os.PathLike) -> Checkpoint:
    """Return the tensors of a torch file; nothing in it is run.

    See `torch_names` for what they are called. The arrays are views of the file.

    Raises:
      UserError: it is damaged or holds no tensors by name.
    """
    with reading(path, _WHAT):
        data = mapping.mapped(path)
        members = archive.Archive(data)
        folders = [m[1] for name in members.members if (m := _PICKLE.fullmatch(name))]
        if len(folders) != 1:
            raise Malformed(f"it has {len(folders)} members data.pkl")
        (folder,) = folders
        if f"{folder}/constants.pkl" in members.members:
            raise Malformed("it is a TorchScript program, not a state dict")
        value, _ = pickled.load(_stored(members, f"{folder}/data.pkl"))
        entries = torch_tensors.entries(
            value,
            functools.partial(_storage, members, folder),
            path,
            mapping.allowance(data),
            swap=_is_big_endian(members, f"{folder}/byteorder"),
        )
    return Checkpoint("torch", Path(path), entries)


def _storage(
    members: archive.Archive, folder: str, storage: torch_tensors.Storage
) -> memoryview:
    data = _stored(members, f"{folder}/data/{storage.key}")
    start = storage.offset * storage.itemsize
    size = storage.size * storage.itemsize
    if start + size > len(data):
        raise Malformed(
            f"storage {quoted(storage.key)} has {len(data)} bytes where "
            f"{start + size} belong"
        )
    return data[start : start + size]


def _stored(members: archive.Archive, name: str) -> memoryview:
    if name not in members.members:
        raise Malformed(f"it lacks {quoted(name)}")
    # torch never compresses; unpacking a storage for each of its views could take
    # for ever.
    if members.members[name].method != archive.STORED:
        raise Malformed(f"{quoted(name)} is compressed")
    return members.read(name)


def _is_big_endian(members: archive.Archive, name: str) -> bool:
    if name not in members.members:
        return False
    found = bytes(_stored(members, name)[:16])
    if found not in (b"little", b"big"):
        raise Malformed(f"its byte order is {ascii(found)[1:]}")
    return found == b"big"
