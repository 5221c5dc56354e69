"""Stored outputs of other people's networks, and ours by the way a user goes.

The checkpoint of a case is written in a format of its authors or in safetensors,
converted, and the model file read again.
"""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from jaxseg import convert, model_file
from jaxseg.pretrained import catalogue


class Case(NamedTuple):
    folder: Path
    manifest: dict[str, Any]
    inputs: dict[str, np.ndarray]
    maker: ModuleType
    comparer: ModuleType


def open_case(shared, name):
    """Return a case of the reference files, skipping the test where there are none."""
    folder = shared(f"parity/{name}")
    return Case(
        folder,
        json.loads((folder / "manifest.json").read_text()),
        dict(np.load(folder / "inputs.npz")),
        *(_script(shared(f"parity/{x}.py")) for x in ("make_checkpoint", "compare")),
    )


def converted(case, model, folder, form="safetensors", classes=None):
    """Return the model that the checkpoint of a case becomes, and the report on it."""
    checkpoint, out = folder / "theirs", folder / "ours.safetensors"
    tensors = case.maker.generate(case.manifest)
    assert case.maker.digest(tensors) == case.manifest["checkpoint"]["sha256"]
    case.maker.write(case.manifest, tensors, str(checkpoint), form)
    del tensors
    report = convert.convert(checkpoint, out, model, classes)
    found = model_file.load(out, list(catalogue.find(model).settings))
    for path in folder.iterdir():
        path.unlink()  # hundreds of megabytes that pytest would keep
    return found, report


def assert_same(case, outputs):
    """Check all outputs that the manifest names; ours are channels-last."""
    rows = case.comparer.compare(str(case.folder), outputs, nhwc=True)
    assert len(rows) == len(case.manifest["outputs"])
    wrong = [
        f"{key}: {figure} > {allowed} {text}"
        for key, passed, figure, allowed, text in rows
        if not passed
    ]
    assert not wrong


def _script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
