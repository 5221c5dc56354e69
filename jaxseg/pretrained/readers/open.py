"""Open a checkpoint of whatever format, told by what the file holds."""

import os
import types

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import (
    archive,
    caffe,
    mapping,
    npz,
    safetensors_file,
    tf_v1,
    tf_v2,
    torch_legacy,
    torch_zip,
)
from jaxseg.pretrained.readers.entries import Checkpoint, reading, shown

_WHAT = (
    "a checkpoint of torch (zip or before 1.6), TensorFlow (V1, or V2 by its prefix or "
    ".index), Caffe (.caffemodel), safetensors or .npz"
)
# Formats that people may take for one of these, by how they begin.
_OTHERS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes"),
    (npz.MAGIC, "a single array, .npy"),
    (b"\x1f\x8b", "packed by gzip"),
    (b"\x80", "a plain pickle"),
    (b"\x08", "perhaps an ONNX file"),
)


def open_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """Return the tensors of a foreign checkpoint, none of them read yet.

    The extension does not matter; a TensorFlow V2 checkpoint is named by its prefix or
    by one of its files. See the modules of this package for the names of the tensors.

    Raises:
      UserError: it is missing, damaged or of another format.
    """
    with reading(path, _WHAT):
        if tf_v2.matches(path):
            return tf_v2.open(path)
        data = mapping.mapped(path)
        module = _format(path, data)
    if module is None:
        raise UserError(
            f"{shown(path)} is {_guess(data)}; expected {_WHAT}; give another file or "
            "convert it"
        )
    return module.open(path)


def _format(path: str | os.PathLike, data: memoryview) -> types.ModuleType | None:
    """Return the module that reads a file."""
    if data[:4] == b"PK\3\4":
        members = archive.Archive(data)
        return next((m for m in (torch_zip, npz) if m.matches(members)), None)
    for module in (torch_legacy, safetensors_file):
        if module.matches(data):
            return module
    if tf_v1.matches(path):
        return tf_v1
    # Last, as it has no magic number.
    return caffe if caffe.matches(data) else None


def _guess(data: memoryview) -> str:
    found = (what for start, what in _OTHERS if data[: len(start)] == start)
    return next(found, "of no known format")
