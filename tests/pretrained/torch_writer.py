"""A small writer of torch's checkpoint files, byte for byte where torch is pickling.

It makes what torch cannot be asked for here: damaged and hostile files, and samples of
any shape. The files in `data` hold it against torch itself.
"""

import struct
import zipfile
from typing import NamedTuple

import ml_dtypes
import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
bfloat16 = np.dtype(ml_dtypes.bfloat16)


class Raw(bytes):
    """Opcodes to put where a value belongs."""


class State(dict):
    """What torch writes as an OrderedDict; with `metadata`, as a state dict."""

    metadata = None


class Name(NamedTuple):
    module: str
    name: str


class Call(NamedTuple):
    function: Name
    args: tuple


class Persistent(NamedTuple):
    identity: tuple


class Tensor(NamedTuple):
    storage: np.ndarray  # [n]
    offset: int
    shape: tuple
    strides: tuple  # in numbers
    kind: str | None = None  # of storage, where the type does not tell


def tensor(array):
    """Return a tensor with a storage of its own."""
    array = np.asarray(array, order="C")
    strides = tuple(step // array.itemsize for step in array.strides)
    return Tensor(array.reshape(-1), 0, array.shape, strides)


class Pickler:
    """Writes values as Python's pickler of protocol 2 does, with torch's tensors."""

    def __init__(self, legacy=False):
        self.storages = []
        self._out = bytearray()
        self._memo = {}
        self._count = 0
        self._legacy = legacy

    def dump(self, value):
        self._out = bytearray(b"\x80\x02")
        self._memo, self._count = {}, 0
        self._put(value)
        return bytes(self._out + b".")

    def _remember(self, key=None):
        if key is not None:
            self._memo[key] = self._count
        code = b"q" + bytes([self._count]) if self._count < 256 else None
        self._out += code or b"r" + struct.pack("<I", self._count)
        self._count += 1

    def _known(self, key):
        if key not in self._memo:
            return False
        at = self._memo[key]
        self._out += b"h" + bytes([at]) if at < 256 else b"j" + struct.pack("<I", at)
        return True

    def _put(self, value):
        if isinstance(value, Raw):
            self._out += value
        elif value is None or isinstance(value, bool):
            self._out += {None: b"N", True: b"\x88", False: b"\x89"}[value]
        elif isinstance(value, int):
            self._out += integer(value)
        elif isinstance(value, float):
            self._out += b"G" + struct.pack(">d", value)
        elif isinstance(value, str):
            self._put_text(value)
        elif isinstance(value, Name):
            if not self._known(value):
                self._out += f"c{value.module}\n{value.name}\n".encode()
                self._remember(value)
        elif isinstance(value, Tensor):
            self._put_tensor(value)
        elif isinstance(value, Persistent):
            self._put(value.identity)
            self._out += b"Q"
        elif isinstance(value, Call):
            self._put(value.function)
            self._put(value.args)
            self._out += b"R"
            self._remember()
        elif isinstance(value, tuple):
            self._put_tuple(value)
        elif isinstance(value, dict):
            self._put_dict(value)
        elif isinstance(value, list):
            self._out += b"]"
            self._remember()
            self._put_items(value, b"a", b"e")
        else:
            raise TypeError(value)

    def _put_text(self, value):
        if not self._known(value):
            data = value.encode()
            self._out += b"X" + struct.pack("<I", len(data)) + data
            self._remember(value)

    def _put_tuple(self, value):
        if not value:
            self._out += b")"
            return
        self._out += b"(" if len(value) > 3 else b""
        for item in value:
            self._put(item)
        self._out += {1: b"\x85", 2: b"\x86", 3: b"\x87"}.get(len(value), b"t")
        self._remember()

    def _put_dict(self, value):
        if isinstance(value, State):
            self._put(Call(Name("collections", "OrderedDict"), ()))
        else:
            self._out += b"}"
            self._remember()
        flat = [x for pair in value.items() for x in pair]
        self._put_items(flat, b"s", b"u", 2)
        if isinstance(value, State) and value.metadata is not None:
            self._out += b"}"
            self._remember()
            self._put("_metadata")
            self._put(value.metadata)
            self._out += b"sb"

    def _put_items(self, items, one, many, unit=1):
        if not items:
            return
        self._out += b"(" if len(items) > unit else b""
        for item in items:
            self._put(item)
        self._out += many if len(items) > unit else one

    def _put_tensor(self, value):
        self._put(Name("torch._utils", "_rebuild_tensor_v2"))
        self._out += b"("
        known = [i for i, s in enumerate(self.storages) if s is value.storage]
        key = known[0] if known else len(self.storages)
        if not known:
            self.storages.append(value.storage)
        kind = value.kind or STORAGES[value.storage.dtype.name]
        identity = ("storage", Name("torch", kind), str(key), "cpu", len(value.storage))
        self._put(Persistent(identity + ((None,) if self._legacy else ())))
        self._put(value.offset)
        self._put(value.shape)
        self._put(value.strides)
        self._put(False)
        self._put(State())
        self._out += b"t"
        self._remember()
        self._out += b"R"
        self._remember()


def integer(value):
    """Return the opcode of an int."""
    if 0 <= value < 1 << 8:
        return b"K" + bytes([value])
    if 0 <= value < 1 << 16:
        return b"M" + struct.pack("<H", value)
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def write_zip(path, value, folder="archive", order="little", method=zipfile.ZIP_STORED):
    """Write the form since torch 1.6."""
    pickler = Pickler()
    members = {"data.pkl": pickler.dump(value), "byteorder": order.encode()}
    for key, storage in enumerate(pickler.storages):
        swapped = storage.byteswap() if order == "big" else storage
        members[f"data/{key}"] = swapped.tobytes()
    members["version"] = b"3\n"
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(f"{folder}/{name}", data)
    return path


def write_legacy(path, value):
    """Write the form before torch 1.6."""
    machine = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    pickler = Pickler(legacy=True)
    parts = [pickler.dump(one) for one in (MAGIC, 1001, machine, value)]
    parts.append(pickler.dump([str(key) for key in range(len(pickler.storages))]))
    for storage in pickler.storages:
        parts += [struct.pack("<q", len(storage)), storage.tobytes()]
    path.write_bytes(b"".join(parts))
    return path
