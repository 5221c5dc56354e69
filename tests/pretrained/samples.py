"""Small checkpoints of each format, and damage that keeps their outer layer whole."""

import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy

from jaxseg.pretrained.readers import pickled, proto
from tests.pretrained import caffe_writer, torch_writer
from tests.pretrained.tables import field, varint

Mutate = Callable[[random.Random, bytes], bytes]

_CODES = bytes(
    [*pickled._CONSTANTS, *pickled._NUMBERS, *pickled._STRINGS, *pickled._ACTIONS]
)


def arrays():
    """Return arrays of several types, one empty, one scalar, one that compresses."""
    rng = np.random.default_rng(3)
    kinds = ("<f4", "<f8", "<f2", "<i8", "<i4", "<i2", "i1", "u1", "?")
    found = {f"layer{i}": rng.integers(0, 2, (3, i + 1)) for i in range(len(kinds))}
    found = {k: v.astype(d) for (k, v), d in zip(found.items(), kinds)}
    return {
        **found,
        "conv": rng.standard_normal((4, 3, 2, 2)).astype("<f4"),
        "zeros": np.zeros((20, 30), "<f4"),
        "empty": np.zeros((0, 3), "<f4"),
        "step": np.array(7),
    }


def checkpoint():
    """Return what a training script gives to torch, with views and odd objects."""
    state = torch_writer.State({k: torch_writer.tensor(v) for k, v in arrays().items()})
    state.metadata = torch_writer.State({"": {"version": 1}})
    base = np.arange(24, dtype="<f4")
    state["view"] = torch_writer.Tensor(base, 2, (3, 4), (1, 6))
    state["expanded"] = torch_writer.Tensor(base, 0, (5, 6), (0, 1))
    bfloat16 = base.astype(torch_writer.bfloat16)
    state["parameter"] = torch_writer.Call(
        torch_writer.Name("torch._utils", "_rebuild_parameter"),
        (torch_writer.tensor(bfloat16), True, torch_writer.State()),
    )
    settings = torch_writer.Call(torch_writer.Name("argparse", "Namespace"), ())
    steps = [{"lr": 0.1, "params": [0, 1, 70_000, -1]}, 1 << 40]
    return {"epoch": 7, "state_dict": state, "args": settings, "optimizer": steps}


def make_torch_zip(folder: Path) -> Path:
    return torch_writer.write_zip(folder / "model.pth", checkpoint())


def make_torch_legacy(folder: Path) -> Path:
    return torch_writer.write_legacy(folder / "model.pth", checkpoint())


def make_npz(folder: Path) -> Path:
    np.savez(folder / "model.npz", **arrays(), fortran=np.ones((3, 4), order="F"))
    return folder / "model.npz"


def make_npz_deflated(folder: Path) -> Path:
    np.savez_compressed(folder / "model.npz", **arrays())
    return folder / "model.npz"


def make_safetensors(folder: Path) -> Path:
    path = folder / "model.safetensors"
    safetensors.numpy.save_file(arrays(), path, {"made by": "a test"})
    return path


def make_caffe(folder: Path) -> Path:
    floats = [a for a in arrays().values() if a.dtype in ("<f4", "<f8")]
    data = caffe_writer.net({"conv": floats, "relu": [], "fc/6": floats[:2]})
    data += caffe_writer.net({"old": floats[:2]}, old=True, packed=False)
    path = folder / "model.caffemodel"
    path.write_bytes(data)
    return path


def damage_zip(mutate: Mutate, rng: random.Random, data: bytes) -> bytes:
    """Damage members of a zip file, behind checksums and sizes that are right."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {info: file.read(info) for info in file.infolist()}
    victims = rng.sample(list(members), rng.choice((1, 1, 2)))
    if rng.random() < 0.7:  # where the pickle is, if there is one
        victims = [list(members)[0]]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for info, content in members.items():
            if info in victims:
                content = _either(mutate, damage_pickle, rng, content)
            name = info.filename
            if rng.random() < 0.02:
                name = mutate(rng, name.encode()).decode("latin-1").replace("\0", "")
            with warnings.catch_warnings(action="ignore"):  # of names there twice
                file.writestr(name or "none", content, info.compress_type)
    return out.getvalue()


def damage_pickle(rng: random.Random, data: bytes) -> bytes:
    """Put other opcodes into a pickle, or into whatever it is."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 10))):
        at = rng.randint(0, max(0, len(out) // rng.choice((1, 4)) - 1))
        if rng.random() < 0.5:
            out[at : at + 1] = bytes([rng.choice(_CODES)])
        else:
            piece = rng.choices(_CODES, k=rng.randint(1, 4))
            out[at:at] = bytes(piece) * rng.choice((1, 1, 50))
    return bytes(out)


def damage_header(mutate: Mutate, rng: random.Random, data: bytes) -> bytes:
    """Damage the header of a safetensors file, behind a length that is right."""
    (size,) = struct.unpack_from("<Q", data)
    header = _either(mutate, _damage_json, rng, data[8 : 8 + size])
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def _damage_json(rng: random.Random, data: bytes) -> bytes:
    header = json.loads(data)
    about = header[rng.choice(list(header))]
    value = rng.choice((-1, 0, 1, 2.5, 2**31, 2**63, 10**30, "F64", None, [], {}, True))
    key = rng.choice(list(about))
    if isinstance(about[key], list) and about[key] and rng.random() < 0.8:
        about[key][rng.randrange(len(about[key]))] = value
    else:
        about[key] = value
    return json.dumps(header).encode()


def damage_message(mutate: Mutate, rng: random.Random, data: bytes) -> bytes:
    """Damage one field of a message, behind lengths that are right."""
    try:
        parts = list(proto.fields(memoryview(data)))
    except proto.Malformed:
        return mutate(rng, data)
    if not parts or rng.random() < 0.1:
        return mutate(rng, data)
    victim = rng.randrange(len(parts))
    return b"".join(
        _field(part, (mutate, rng) if i == victim else None)
        for i, part in enumerate(parts)
    )


def _field(part, damage):
    number, wire, value = part
    if wire == proto.BYTES:
        value = bytes(value)
        return field(number, damage_message(*damage, value) if damage else value)
    if damage:
        value = damage[1].choice((0, 1, value ^ 1, 2**31, 2**63, 2**64 - 1))
    if wire == proto.VARINT:
        return field(number, value)
    size = 8 if wire == proto.FIXED64 else 4
    return varint(number << 3 | wire) + (value & (1 << 8 * size) - 1).to_bytes(
        size, "little"
    )


def _either(mutate, other, rng, data):
    return other(rng, data) if rng.random() < 0.5 else mutate(rng, data)
