"""NumPy's .npz: a zip file with one .npy member for each array.

Source: numpy/lib/format.py. A member is a magic string, a version, the length of a
header, the header (a Python dict of three items, as text) and the numbers.
"""

import functools
import math
import os
import re
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import archive, mapping
from jaxseg.pretrained.readers.entries import (
    MOST_ENTRIES,
    Checkpoint,
    Entry,
    Malformed,
    checked_shape,
    quoted,
    reading,
    shown,
)

MAGIC = b"\x93NUMPY"

_WHAT = "a whole .npz file of numbers"
_SUFFIX = ".npy"
_LONGEST_HEADER = 1 << 16
_LENGTHS = {1: struct.Struct("<H"), 2: struct.Struct("<I"), 3: struct.Struct("<I")}
_ITEM = re.compile(
    r"""\s*(['"])(?P<key>\w{1,16})\1\s*:\s*"""
    r"""(?:(['"])(?P<text>[^'"\\]{0,32})\3|(?P<flag>True|False)"""
    r"""|\((?P<sizes>[\dL,\s]{0,1024})\))\s*(?:,|$)"""
)
_PLAIN = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16)")


class _Header(NamedTuple):
    shape: tuple[int, ...]
    kind: str  # as NumPy writes it: "<f4"
    is_fortran: bool
    size: int  # bytes in front of the numbers


def matches(members: archive.Archive) -> bool:
    """Return whether a zip file has arrays of NumPy."""
    return any(name.endswith(_SUFFIX) for name in members.members)


def open(path: str | os.PathLike) -> Checkpoint:
    """Return the arrays of an .npz file by their names, without ".npy".

    Arrays of objects, strings and records are listed, and refused when read. Those of
    a file that is not compressed are views of it.

    Raises:
      UserError: it is damaged.
    """
    with reading(path, _WHAT):
        members = archive.Archive(mapping.mapped(path))
        names = [name for name in members.members if name.endswith(_SUFFIX)]
        if not 0 < len(names) <= MOST_ENTRIES:
            raise Malformed(f"it has {len(names)} arrays")
        entries = {
            name.removesuffix(_SUFFIX): _entry(path, members, name) for name in names
        }
    return Checkpoint("npz", Path(path), entries)


def _entry(path: str | os.PathLike, members: archive.Archive, name: str) -> Entry:
    try:
        header = _header(members, name)
    except Malformed as error:
        raise Malformed(f"{quoted(name)}: {error}") from error
    if not _PLAIN.fullmatch(header.kind):
        refuse = functools.partial(_refuse, path, name, header.kind)
        return Entry(header.shape, np.dtype(object), refuse)
    dtype, size = np.dtype(header.kind), members.members[name].size - header.size
    checked_shape(header.shape, dtype.itemsize, size)
    if math.prod(header.shape) * dtype.itemsize != size:
        raise Malformed(f"{quoted(name)} has {size} bytes for {list(header.shape)}")
    return Entry(
        header.shape,
        dtype.newbyteorder("="),
        functools.partial(_read, path, members, name, header),
    )


def _header(members: archive.Archive, name: str) -> _Header:
    start = members.start(name, len(MAGIC) + 6)
    if start[: len(MAGIC)] != MAGIC or len(start) < len(MAGIC) + 6:
        raise Malformed("it is no .npy file")
    length = _LENGTHS.get(start[len(MAGIC)])
    if length is None:
        raise Malformed(f"it is of version {start[len(MAGIC)]} of the .npy format")
    (size,) = length.unpack_from(start, len(MAGIC) + 2)
    offset = len(MAGIC) + 2 + length.size
    if size > _LONGEST_HEADER:
        raise Malformed(f"it has a header of {size} bytes")
    text = members.start(name, offset + size)[offset:].decode("latin-1")
    if len(text) != size:
        raise Malformed("it breaks off in its header")
    return _parsed(text.strip(), offset + size)


def _parsed(text: str, size: int) -> _Header:
    """Return what a header says, read as the three items it may have."""
    items = {}
    if not (text.startswith("{") and text.endswith("}")):
        raise Malformed("its header is not a dict")
    inner, at = text[1:-1].rstrip(), 0
    while at < len(inner) and len(items) <= 3:
        item = _ITEM.match(inner, at)
        if item is None or item["key"] in items:
            raise Malformed(f"its header has {quoted(inner[at : at + 60])}")
        items[item["key"]] = item
        at = item.end()
    if items.keys() != {"descr", "fortran_order", "shape"}:
        raise Malformed(f"its header has {quoted(', '.join(items))}")
    kind, flag = items["descr"]["text"], items["fortran_order"]["flag"]
    sizes = items["shape"]["sizes"]
    if kind is None or flag is None or sizes is None:
        raise Malformed("its header is of no plain array")
    # Python 2 wrote large sizes as 3L.
    shape = [int(word) for word in sizes.replace("L", "").replace(",", " ").split()]
    return _Header(checked_shape(shape, 1, 1 << 62), kind, flag == "True", size)


def _read(
    path: str | os.PathLike, members: archive.Archive, name: str, header: _Header
) -> np.ndarray:
    with reading(path, _WHAT):
        data = members.read(name)[header.size :]
        order = "F" if header.is_fortran else "C"
        dtype = np.dtype(header.kind)
        if dtype.kind == "b":
            # Any byte but 0 and 1 would make a boolean that equals neither.
            return np.ndarray(header.shape, np.uint8, data, order=order) != 0
        array = np.ndarray(header.shape, dtype, data, order=order)
        return array.astype(dtype.newbyteorder("="), copy=False)


def _refuse(path: str | os.PathLike, name: str, kind: str) -> np.ndarray:
    raise UserError(
        f"{shown(path)}: {quoted(name)} holds NumPy's type {quoted(kind)}; expected "
        "numbers; leave it out"
    )
