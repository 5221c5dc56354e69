"""Whole checkpoints of a small FlowNetS in every format, as `jaxseg convert` has them.

Their tensors are random, with the names and layouts of the rules in
`jaxseg.pretrained.flownet`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy

from jaxseg import convert
from jaxseg.pretrained import catalogue
from jaxseg.runtime import weights
from tests.pretrained import caffe_writer, small, tables, torch_writer

NAME = "small"  # in the catalogue, while a test runs
_FAMILIES = {"tf": "flownet2-S-tf", "torch": "flownet2-S", "caffe": "flownet2-s-caffe"}


def known(kind: str) -> catalogue.Known:
    """Return the known model that a format's sample is one of."""
    return small.shrunk(_FAMILIES[_family(kind)], base_channels=1)


def make(kind: str, folder: Path) -> Path:
    """Write a sample of a format of `fuzz.FORMATS` into an empty folder."""
    settings = catalogue.settings_of(known(kind), None)
    leaves = weights.flatten(convert.template(settings)["flow"])
    drawn = {name: small.draw(*leaf.shape) for name, leaf in leaves.items()}
    return _WRITERS[kind](folder, _NAMERS[_family(kind)](drawn))


def _family(kind: str) -> str:
    return next((f for f in _FAMILIES if kind.startswith(f)), "torch")


def _tensorflow_names(drawn):
    ours = {"kernel": "weights", "bias": "biases"}
    found = {}
    for name, value in drawn.items():
        _, layer, leaf = name.split("/")
        found[f"FlowNetS/{layer}/{ours[leaf]}"] = value
    return found | {"global_step": np.array(3, "<i8")}


def _torch_names(drawn):
    found = {}
    for name, value in drawn.items():
        _, layer, leaf = name.split("/")
        if leaf == "kernel":
            value = np.ascontiguousarray(value.transpose(3, 2, 0, 1))
        inner = "" if layer.startswith(("predict", "upsample")) else ".0"
        layer = layer.replace("upsample_", "upsampled_").replace("to", "_to_")
        found[f"{layer}{inner}.{'weight' if leaf == 'kernel' else 'bias'}"] = value
    return found


def _caffe_names(drawn):
    """Return the blobs of every layer."""
    layers = {}
    for name, value in sorted(drawn.items(), reverse=True):  # a kernel, then its bias
        if name.startswith("batch_stats"):
            index = 0 if "current" in name else 1
            mean = value[::-1].reshape(1, 3, 1, 1)
            layers[f"img{index}s_aug"] = [small.draw(1), small.draw(1, 3, 2, 2), mean]
            continue
        _, layer, leaf = name.split("/")
        if leaf == "kernel":
            value = value.transpose(3, 2, 0, 1)
        if layer.startswith("predict_flow"):
            layer = f"Convolution{7 - int(layer[-1])}"
        layers.setdefault(layer, []).append(value)
    return layers


def _write_tf_v2(folder, tensors, **options):
    shards = 1 if options else 2
    tables.write_v2(
        folder / "model.ckpt", tensors, shards=shards, block_size=300, **options
    )
    return folder / "model.ckpt"


def _write_tf_v1(folder, tensors):
    tables.write_v1(folder / "model.ckpt", tensors, block_size=300)
    return folder / "model.ckpt"


def _write_torch(write, folder, tensors):
    state = torch_writer.State({n: torch_writer.tensor(x) for n, x in tensors.items()})
    training = {"epoch": 7, "state_dict": state, "best_EPE": 1.5}
    return write(folder / "model.pth", training)


def _write_npz(save, folder, tensors):
    save(folder / "model.npz", **tensors)
    return folder / "model.npz"


def _write_safetensors(folder, tensors):
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    return folder / "model.safetensors"


def _write_caffe(folder, layers):
    (folder / "model.caffemodel").write_bytes(caffe_writer.net(layers))
    return folder / "model.caffemodel"


_NAMERS = {"tf": _tensorflow_names, "torch": _torch_names, "caffe": _caffe_names}
_WRITERS: dict[str, Callable[[Path, dict], Path]] = {
    "caffe": _write_caffe,
    "npz": lambda *args: _write_npz(np.savez, *args),
    "npz_deflated": lambda *args: _write_npz(np.savez_compressed, *args),
    "safetensors": _write_safetensors,
    "tf_v1": _write_tf_v1,
    "tf_v2": _write_tf_v2,
    "tf_v2_snappy": lambda *args: _write_tf_v2(*args, compress=tables.literal_snappy),
    "torch_legacy": lambda *args: _write_torch(torch_writer.write_legacy, *args),
    "torch_zip": lambda *args: _write_torch(torch_writer.write_zip, *args),
}
