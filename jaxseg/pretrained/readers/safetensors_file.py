"""safetensors files: the length of a header, the header in JSON, the numbers.

Source: the format section of README.md in huggingface/safetensors. The package is not
used because its NumPy arrays lack bfloat16, and it copies every tensor.
"""

import functools
import json
import math
import os
import struct
from pathlib import Path

import ml_dtypes
import numpy as np

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import mapping
from jaxseg.pretrained.readers.entries import (
    LONGEST_NAME,
    MOST_ENTRIES,
    Checkpoint,
    Entry,
    Malformed,
    checked_shape,
    quoted,
    reading,
    shown,
)

_WHAT = "a whole safetensors file"
_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 100_000_000
_BASE_ROOM = 32 << 20
_METADATA = "__metadata__"
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


def matches(data: memoryview) -> bool:
    """Return whether a file starts with a length and the JSON of a dict."""
    return (
        len(data) > _LENGTH.size
        and data[_LENGTH.size] == ord("{")
        and _LENGTH.unpack_from(data)[0] <= _LONGEST_HEADER
    )


def open(path: str | os.PathLike) -> Checkpoint:
    """Return the tensors of a safetensors file; the arrays are views of the file.

    Those of a type that no array has are listed, and refused when read.

    Raises:
      UserError: it is damaged or cut short.
    """
    with reading(path, _WHAT):
        header, data = _split(mapping.mapped(path))
        header.pop(_METADATA, None)
        if len(header) > MOST_ENTRIES:
            raise Malformed(f"it has {len(header)} tensors")
        entries, spans = {}, []
        for name, about in header.items():
            entries[name], span = _entry(path, name, about, data)
            spans.append(span)
        _check_whole(sorted(spans), len(data))
    return Checkpoint("safetensors", Path(path), entries)


def metadata(path: str | os.PathLike) -> dict[str, str]:
    """Return the strings that the writer of a safetensors file put beside the tensors.

    Raises:
      UserError: it is damaged or cut short.
    """
    with reading(path, _WHAT):
        header, _ = _split(mapping.mapped(path))
        found = header.get(_METADATA, {})
        if not isinstance(found, dict) or not all(
            isinstance(value, str) for value in found.values()
        ):
            raise Malformed(f"its {_METADATA} are not strings")
        return found


def _split(data: memoryview) -> tuple[dict, memoryview]:
    """Return the header and the bytes of the tensors."""
    if len(data) < _LENGTH.size:
        raise Malformed(f"it has {len(data)} bytes")
    (size,) = _LENGTH.unpack_from(data)
    start = _LENGTH.size + size
    if size > _LONGEST_HEADER or start > len(data):
        raise Malformed(f"its header should have {size} bytes, the file {len(data)}")
    text = bytes(data[_LENGTH.size : start])
    # What Python makes of the JSON is bounded before it is made.
    cost = 232 * text.count(b"{") + 88 * text.count(b"[") + 120 * text.count(b",")
    if cost + (0 if text.isascii() else 8 * size) > 2 * len(data) + _BASE_ROOM:
        raise Malformed(f"its header of {size} bytes is far too complicated")
    try:
        header = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"its header is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise Malformed("its header is not a dict")
    return header, data[start:]


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Malformed("its header says something twice")
    return found


def _entry(
    path: str | os.PathLike, name: str, about: object, data: memoryview
) -> tuple[Entry, tuple[int, int]]:
    """Return an entry and the bytes that it covers, from and to."""
    if not isinstance(about, dict) or len(name) > LONGEST_NAME:
        raise Malformed(f"{quoted(name)} is not described")
    kind, shape = about.get("dtype"), about.get("shape")
    start, end = _counts(name, about.get("data_offsets"), 2)
    if not start <= end <= len(data):
        raise Malformed(f"{quoted(name)} is at bytes {start} to {end} of {len(data)}")
    if not isinstance(kind, str) or kind not in _DTYPES:
        refuse = functools.partial(_refuse, path, name, kind)
        shape = checked_shape(_counts(name, shape), 1, 1 << 62)
        return Entry(shape, np.dtype(object), refuse), (start, end)
    dtype = np.dtype(getattr(ml_dtypes, _DTYPES[kind], _DTYPES[kind]))
    shape = checked_shape(_counts(name, shape), dtype.itemsize, end - start)
    if math.prod(shape) * dtype.itemsize != end - start:
        raise Malformed(f"{quoted(name)} has {end - start} bytes for {list(shape)}")
    read = functools.partial(_read, data[start:end], shape, dtype)
    return Entry(shape, dtype, read), (start, end)


def _counts(name: str, found: object, count: int | None = None) -> list[int]:
    if (
        not isinstance(found, list)
        or not all(type(n) is int and 0 <= n < 1 << 62 for n in found)
        or count not in (None, len(found))
    ):
        raise Malformed(f"{quoted(name)} has a shape or place that is none")
    return found


def _check_whole(spans: list[tuple[int, int]], size: int) -> None:
    """Check that the tensors lie side by side and cover everything."""
    at = 0
    for start, end in spans:
        if start != at:
            raise Malformed(f"its tensors overlap or leave a gap at byte {at}")
        at = end
    if at != size:
        raise Malformed(f"its tensors have {at} bytes, the file {size}")


def _read(data: memoryview, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    bits = np.frombuffer(data, f"<u{dtype.itemsize}").reshape(shape)
    if dtype.kind == "b":
        # Any byte but 0 and 1 would make a boolean that equals neither.
        return bits != 0
    return bits.astype(bits.dtype.newbyteorder("="), copy=False).view(dtype)


def _refuse(path: str | os.PathLike, name: str, kind: object) -> np.ndarray:
    raise UserError(
        f"{shown(path)}: {quoted(name)} holds the type {quoted(str(kind))}; expected "
        "numbers; leave it out"
    )
