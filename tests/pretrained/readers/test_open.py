import shutil

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import open as opening
from jaxseg.pretrained.readers import torch_zip
from tests.pretrained import fuzz

FORMATS = {
    "caffe": "Caffe",
    "npz": "npz",
    "npz_deflated": "npz",
    "safetensors": "safetensors",
    "tf_v1": "TensorFlow V1",
    "tf_v2": "TensorFlow V2",
    "tf_v2_snappy": "TensorFlow V2",
    "torch_legacy": "torch (before 1.6)",
    "torch_zip": "torch",
}


def refusal(path):
    with pytest.raises(UserError) as error:
        opening.open_checkpoint(path)
    message = str(error.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.mark.parametrize("name", sorted(fuzz.FORMATS))
def test_formats_are_told_by_their_content(tmp_path, name):
    path = fuzz.FORMATS[name].make(tmp_path)
    if path.is_file():
        path = shutil.move(path, tmp_path / "model.pth.tar")
    found = opening.open_checkpoint(path)
    assert found.format == FORMATS[name] and found.entries


@pytest.mark.parametrize("name", sorted(fuzz.FORMATS))
def test_each_reader_refuses_the_files_of_the_others(tmp_path, name):
    path = fuzz.FORMATS[name].make(tmp_path)
    if not path.is_file():
        path = path.with_name(path.name + ".index")
    readers = {FORMATS[n]: fuzz.FORMATS[n].reader for n in FORMATS}
    for kind, reader in readers.items():
        if kind != FORMATS[name]:
            with pytest.raises(UserError) as error:
                fuzz.importlib.import_module(reader).open(path)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "is an HDF5 file"),
        (b"\x93NUMPY\x01\x00", "is a single array, .npy"),
        (b"\x1f\x8b\x08" + bytes(600), "is packed by gzip"),
        (b"\x80\x04\x95" + bytes(600), "is a plain pickle"),
        (b"name: 'VGG'\nlayer { }\n", "is of no known format"),
        (b"\0", "is of no known format"),
        (bytes(100_000), "is of no known format"),
    ],
)
def test_foreign_files_are_refused_with_a_list_of_formats(tmp_path, data, message):
    path = tmp_path / "weights"
    path.write_bytes(data)
    found = refusal(path)
    assert message in found
    for name in ("torch", "TensorFlow", ".caffemodel", "safetensors", ".npz"):
        assert name in found


def test_what_is_not_a_file_is_refused(tmp_path):
    assert "not a regular file" in refusal(tmp_path)
    assert "there is no file" in refusal(tmp_path / "gone")
    (tmp_path / "empty").touch()
    assert "it is empty" in refusal(tmp_path / "empty")


def test_noise_is_refused(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "noise"
    starts = (b"PK\3\4", b"\x80\x02\x8a\x0a", b"\0\0", b"\x0a", b"\xa2\x06")
    for start in starts * 20:
        path.write_bytes(start + rng.bytes(500))
        refusal(path)


def test_other_zip_files_are_refused(tmp_path):
    path = shutil.make_archive(str(tmp_path / "a"), "zip", fuzz.Path(__file__).parent)
    assert "is of no known format" in refusal(path)
    assert not torch_zip.matches(opening.archive.Archive(opening.mapping.mapped(path)))
