"""Tensors in what torch pickles: which bytes of which storage they are.

Source: torch/_utils.py, whose `_rebuild_*` functions a checkpoint names, and the
`persistent_id` of torch/serialization.py.
"""

import functools
import math
import os
from collections.abc import Callable
from typing import NamedTuple

import ml_dtypes
import numpy as np

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import torch_names
from jaxseg.pretrained.readers.entries import (
    MOST_ENTRIES,
    Entry,
    Malformed,
    checked_shape,
    quoted,
    reading,
    shown,
)
from jaxseg.pretrained.readers.pickle_machine import Call, Persistent, Reference

_LARGEST = 1 << 62
_DEEPEST = 32  # calls in calls

_DTYPES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "Untyped": "uint8",
    "_Untyped": "uint8",
}
_UNREADABLE = {  # bytes of kinds that no array here has
    "ComplexDouble": 16,
    "ComplexFloat": 8,
    "QInt32": 4,
    "QInt8": 1,
    "QUInt8": 1,
    "QUInt4x2": 1,
    "QUInt2x4": 1,
}
_UNTYPED = ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2")
_REBUILD = (
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
)
_PARAMETER = (
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
)
_SUBCLASS = "torch._tensor._rebuild_from_type_v2"


class Storage(NamedTuple):
    """Hold the place of numbers that tensors share."""

    key: str
    kind: str  # as torch calls it: "Float"
    offset: int  # of its first number among those of the key
    size: int  # numbers

    @property
    def itemsize(self) -> int | None:
        """Bytes of a number; None where the kind is unknown."""
        dtype = _dtype(_DTYPES.get(self.kind))
        return dtype.itemsize if dtype else _UNREADABLE.get(self.kind)


class _View(NamedTuple):
    storage: Storage
    dtype: np.dtype | None  # None where it is unknown
    offset: int  # bytes
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # bytes


def entries(
    value: object,
    read: Callable[[Storage], memoryview],
    path: str | os.PathLike,
    available: int,
    swap: bool = False,
) -> dict[str, Entry]:
    """Return the tensors in a pickled value.

    See `torch_names` for what they are called.

    Args:
      value: what `pickled.load` returned.
      read: from a storage to its bytes, checked; runs when an entry is read.
      path: the file, for messages.
      available: bytes that all tensors may take together.
      swap: whether the numbers are big-endian.

    Raises:
      Malformed: a tensor reaches out of its storage, two have the same name, or there
        is none.
    """
    views = {}
    for name, call in torch_names.calls(value):
        try:
            view = _view(call)
        except (Malformed, TypeError, ValueError) as error:
            raise Malformed(f"{quoted('.'.join(name))}: {error}") from error
        if view is None:
            continue
        available -= math.prod(view.shape) * _itemsize(view)
        if available < 0 or len(views) >= MOST_ENTRIES:
            raise Malformed("its tensors are far more than the file")
        views[name] = view
    if not views:
        raise Malformed("it holds no tensors by name; a state dict has them")
    return {
        name: _entry(name, view, read, path, swap)
        for name, view in torch_names.joined(views).items()
    }


def storage(found: object) -> Storage:
    """Return what a persistent identity says."""
    identity = found.identity if isinstance(found, Persistent) else None
    if not isinstance(identity, tuple) or len(identity) not in (5, 6):
        raise Malformed("a tensor whose storage is not one")
    tag, kind, key, _, size, *view = identity
    if tag != "storage" or not isinstance(kind, Reference) or type(key) is not str:
        raise Malformed("a tensor whose storage is not one")
    offset = 0
    if view and view[0] is not None:  # torch before 0.4: a part of a storage
        _, offset, size = view[0]
    offset, size = _counts((offset, size))
    name = kind.name.rpartition(".")[2]
    return Storage(key, name.removesuffix("Storage"), offset, size)


def _view(call: Call) -> _View | None:
    """Return which bytes a call would make a tensor of; None for other calls."""
    function, args = call.function, call.args
    for _ in range(_DEEPEST):
        if function in _PARAMETER and args and isinstance(args[0], Call):
            function, args = args[0].function, args[0].args
        elif function == _SUBCLASS and len(args) > 2 and isinstance(args[0], Reference):
            function, args = args[0].name, args[2]
        else:
            break
    if function not in _REBUILD:
        return None
    if not isinstance(args, tuple) or len(args) < 4:
        raise Malformed("a tensor with too little said about it")
    place = storage(args[0])
    name = _DTYPES.get(place.kind)
    if function.endswith("_v3"):
        name = args[6].name if isinstance(args[6], Reference) else ""
        name = name.removeprefix("torch.")
    return _placed(place, _dtype(name), args[1:4])


def _placed(place: Storage, dtype: np.dtype | None, numbers: tuple) -> _View:
    (offset,) = _counts(numbers[:1])
    shape, strides = _counts(_listed(numbers[1])), _counts(_listed(numbers[2]))
    if len(shape) != len(strides):
        raise Malformed(f"{len(shape)} sizes but {len(strides)} strides")
    shape = checked_shape(shape, dtype.itemsize if dtype else 1, _LARGEST)
    if dtype is None or place.itemsize is None:
        return _View(place, None, 0, shape, ())
    size = place.size * place.itemsize // dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides))
    if all(shape) and last >= size:
        raise Malformed(f"number {last} of a storage that has {size}")
    if not all(shape):
        offset, strides = 0, (0,) * len(shape)
    return _View(
        place,
        dtype,
        offset * dtype.itemsize,
        shape,
        tuple(step * dtype.itemsize for step in strides),
    )


def _counts(numbers: tuple) -> tuple[int, ...]:
    for number in numbers:
        if type(number) is not int or not 0 <= number < _LARGEST:
            raise Malformed("a size, stride or offset that is not a count")
    return tuple(numbers)


def _listed(value: object) -> tuple:
    if isinstance(value, Call) and value.function == "torch.Size" and value.args:
        value = value.args[0]
    if not isinstance(value, list | tuple):
        raise Malformed("a size or stride that is no list")
    return tuple(value[: _DEEPEST + 1])


def _dtype(name: str | None) -> np.dtype | None:
    if name in _UNTYPED or name in _DTYPES.values():
        return np.dtype(getattr(ml_dtypes, name, name))
    return None


def _itemsize(view: _View) -> int:
    return view.dtype.itemsize if view.dtype else 1


def _entry(
    name: str,
    view: _View,
    read: Callable[[Storage], memoryview],
    path: str | os.PathLike,
    swap: bool,
) -> Entry:
    if view.dtype is None:
        refuse = functools.partial(_refuse, path, name, view.storage.kind)
        return Entry(view.shape, np.dtype(object), refuse)
    return Entry(
        view.shape, view.dtype, functools.partial(_read, view, read, path, swap)
    )


def _read(
    view: _View,
    read: Callable[[Storage], memoryview],
    path: str | os.PathLike,
    swap: bool,
) -> np.ndarray:
    with reading(path, "a whole torch checkpoint"):
        data = read(view.storage)
        if not all(view.shape):
            return np.zeros(view.shape, view.dtype)
        bits = np.dtype(f"{'>' if swap else '<'}u{view.dtype.itemsize}")
        # NumPy checks once more that the strides stay inside the bytes.
        array = np.ndarray(view.shape, bits, data, view.offset, view.strides)
        if view.dtype.kind == "b":
            # Any byte but 0 and 1 would make a boolean that equals neither.
            return array != 0
        return array.astype(bits.newbyteorder("="), copy=False).view(view.dtype)


def _refuse(path: str | os.PathLike, name: str, kind: str) -> np.ndarray:
    raise UserError(
        f"{shown(path)}: {quoted(name)} holds torch's type {shown(kind, 40)}; expected "
        "numbers; leave it out"
    )
