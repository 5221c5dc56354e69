"""Both forms of torch's files: what torch wrote, and what it would never write."""

import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import torch_legacy, torch_zip
from tests.pretrained import samples, torch_writer
from tests.pretrained.torch_writer import Call, Name, Raw, State, Tensor, tensor

DATA = Path(__file__).parents[1] / "data"
FORMS = {
    "zip": (torch_zip.open, torch_writer.write_zip),
    "legacy": (torch_legacy.open, torch_writer.write_legacy),
}
forms = pytest.mark.parametrize("form", FORMS)


def counted(*shape, dtype="float32"):
    return (np.arange(np.prod(shape, dtype=int)) / 4).reshape(shape).astype(dtype)


def real(name, form):
    """Return the entries of a file that torch wrote."""
    return FORMS[form][0](DATA / f"{name}-{form}.pth").entries


def written(tmp_path, form, value, **options):
    """Return the entries of a value that our writer wrote."""
    read, write = FORMS[form]
    return read(write(tmp_path / "model.pth", value, **options)).entries


def refusal(tmp_path, form, value):
    with pytest.raises(UserError) as error:
        for entry in written(tmp_path, form, value).values():
            entry.read()
    message = str(error.value)
    assert str(tmp_path) in message and "\n" not in message
    return message


def check(entries, arrays):
    assert list(entries) == list(arrays)
    for name, array in arrays.items():
        found = entries[name].read()
        assert found.dtype == entries[name].dtype == array.dtype, name
        assert found.shape == entries[name].shape == array.shape, name
        np.testing.assert_array_equal(found, array, name)


NETWORK = {
    "conv.weight": counted(3, 2, 2, 2),
    "conv.bias": counted(3),
    "norm.weight": counted(3),
    "norm.bias": counted(3),
    "norm.running_mean": counted(3),
    "norm.running_var": counted(3),
    "norm.num_batches_tracked": counted(dtype="int64"),
}


@forms
@pytest.mark.parametrize("name", ["network", "training"])
def test_state_dicts_of_torch_come_back(form, name):
    check(real(name, form), NETWORK)


@forms
def test_views_of_torch_come_back(form):
    base = counted(4, 6)
    views = {
        "base": base,
        "transposed": base.T,
        "strided": base[1:, ::2],
        "row": base[2],
        "expanded": np.repeat(base[:, :1], 5, 1),
        "empty": base[:0],
        "scalar": base[3, 5],
        "bool": base > 1,
    }
    check(real("views", form), views)


@forms
def test_types_of_torch_come_back(form):
    names = "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8".split()
    types = {n: counted(8).astype(getattr(ml_dtypes, n, n)) for n in names}
    check(real("types", form), types)


def test_types_of_torch_without_a_storage_of_their_own_come_back():
    names = ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2")
    types = {n: counted(8).astype(getattr(ml_dtypes, n, n)) for n in names}
    check(real("untyped", "zip"), types)


@forms
def test_parameters_of_torch_come_back(form):
    check(real("parameter", form), {"weight": counted(2, 3)})


def test_the_writer_of_these_tests_pickles_as_torch_does():
    state = State({name: tensor(array) for name, array in NETWORK.items()})
    state.metadata = State(
        {"": {"version": 1}, "conv": {"version": 1}, "norm": {"version": 2}}
    )
    value = {"epoch": 7, "state_dict": state, "best_EPE": 1.5}
    with zipfile.ZipFile(DATA / "training-zip.pth") as file:
        theirs = file.read("training-zip/data.pkl")
    assert torch_writer.Pickler().dump(value) == theirs


@forms
def test_a_training_state_comes_back_without_its_wrapper(tmp_path, form):
    arrays = samples.arrays()
    base = np.arange(24, dtype="<f4")
    arrays["view"] = np.stack([base[2 + i :: 6][:4] for i in range(3)])
    arrays["expanded"] = np.tile(base[:6], (5, 1))
    arrays["parameter"] = base.astype(torch_writer.bfloat16)
    check(written(tmp_path, form, samples.checkpoint()), arrays)


@forms
@pytest.mark.parametrize(
    "value, names",
    [
        (lambda t: {"state_dict": {"a": t}, "epoch": 1}, ["a"]),
        (lambda t: {"model": {"a": t}, "optimizer": {0: t}}, ["a", "optimizer.0"]),
        (lambda t: {"model": {"a": t}, "net": {"a": t}}, ["model.a", "net.a"]),
        (lambda t: {"model": {"a": t}, "a": t}, ["model.a", "a"]),
        (lambda t: {"model": {"model": {"a": t}}}, ["model.a"]),
        (lambda t: {"module.a": t}, ["module.a"]),
        (lambda t: {"model": t}, ["model"]),
        (lambda t: {"ema": {"a": t}}, ["ema.a"]),
        (lambda t: [t, (t, {"a": t})], ["0", "1.0", "1.1.a"]),
        (lambda t: State(net=State({"a.b": t})), ["a.b"]),
    ],
)
def test_names_follow_the_nesting(tmp_path, form, value, names):
    assert list(written(tmp_path, form, value(tensor(counted(3))))) == names


@forms
def test_a_tensor_may_have_two_names(tmp_path, form):
    shared = tensor(counted(3))
    check(
        written(tmp_path, form, {"encoder": shared, "decoder": shared}),
        {"encoder": counted(3), "decoder": counted(3)},
    )


@forms
def test_numbers_are_views_of_the_file_that_cannot_be_written(tmp_path, form):
    array = written(tmp_path, form, {"a": tensor(counted(3))})["a"].read()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_big_endian_files_come_back(tmp_path):
    arrays = {k: v for k, v in samples.arrays().items() if k != "empty"}
    arrays["bfloat16"] = counted(4).astype(torch_writer.bfloat16)
    value = {name: tensor(array) for name, array in arrays.items()}
    check(written(tmp_path, "zip", value, order="big"), arrays)


@forms
def test_other_ways_to_rebuild_come_back(tmp_path, form):
    numbers, rebuild = tensor(counted(2, 3)), Name("torch._utils", "_rebuild_tensor")
    kind, view = Name("torch.cuda", "FloatStorage"), (None,) * (form == "legacy")
    place = torch_writer.Persistent(("storage", kind, "0", "cuda:0", 6, *view))
    size = Call(Name("torch", "Size"), ((2, 3),))
    old = Call(rebuild, (place, 0, size, (3, 1)))
    wrapped = Call(
        Name("torch._utils", "_rebuild_parameter_with_state"), (old, True, State(), {})
    )
    newer = Name("torch._utils", "_rebuild_tensor_v2")
    args = (place, 0, (2, 3), (3, 1), False, State())
    subclass = Call(
        Name("torch._tensor", "_rebuild_from_type_v2"),
        (newer, Name("mine", "Tensor"), args, {"note": 1}),
    )
    value = {"a": numbers, "old": wrapped, "subclass": subclass}
    check(written(tmp_path, form, value), dict.fromkeys(value, counted(2, 3)))


@forms
def test_code_in_a_file_is_not_run(tmp_path, form, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bomb = Call(Name("os", "system"), ("touch broken",))
    value = {"a": tensor(counted(3)), "args": bomb, "b": [bomb]}
    check(written(tmp_path, form, value), {"a": counted(3)})
    assert "no tensors" in refusal(tmp_path, form, bomb)
    hidden = Call(Name("torch._utils", "_rebuild_tensor_v2"), (bomb, 0, (3,), (1,)))
    assert "storage is not one" in refusal(tmp_path, form, {"a": hidden})
    assert [p.name for p in tmp_path.iterdir()] == ["model.pth"]


@forms
@pytest.mark.parametrize(
    "offset, shape, strides, message",
    [
        (0, (4,), (1,), "number 3 of a storage that has 3"),
        (1, (3,), (1,), "number 3 of a storage that has 3"),
        (3, (), (), "number 3 of a storage"),
        (0, (2, 2), (2, 1), "number 3 of a storage"),
        (2, (3,), (-1,), "not a count"),
        (-1, (1,), (1,), "not a count"),
        (0, (-1,), (1,), "not a count"),
        (0, (1 << 62,), (0,), "not a count"),
        (0, (True,), (1,), "not a count"),
        (0, (2.0,), (1,), "not a count"),
        (0, (3,), (1, 1), "1 sizes but 2 strides"),
        (0, (1,) * 40, (1,) * 40, "33 dimensions"),
        (0, (1 << 40,), (0,), "far more than the file"),
        (0, (1 << 40, 1 << 40), (0, 0), "has the shape"),
        (0, (0, 1 << 61), (1, 1), "has the shape"),
        (0, None, (1,), "no list"),
    ],
)
def test_views_outside_of_their_storage_are_refused(
    tmp_path, form, offset, shape, strides, message
):
    view = Tensor(counted(3), offset, shape, strides)
    assert message in refusal(tmp_path, form, {"a": view})


@forms
def test_repeated_tensors_are_bounded(tmp_path, form):
    view = Tensor(counted(3), 0, (1 << 22,), (0,))
    assert "far more" in refusal(tmp_path, form, [view] * 10)


@forms
def test_two_tensors_of_one_name_are_refused(tmp_path, form):
    value = {"a": {"b": tensor(counted(3))}, "a.b": tensor(counted(3))}
    assert "same name" in refusal(tmp_path, form, value)


@forms
def test_cycles_and_depth_are_bounded(tmp_path, form):
    cycle = Raw(b"]q\x01h\x01a")
    assert "no tensors" in refusal(tmp_path, form, cycle)
    deep = tensor(counted(3))
    for _ in range(40):
        deep = [deep]
    assert "nested more than 32" in refusal(tmp_path, form, deep)
    assert "nested more than 32" in refusal(
        tmp_path, form, Raw(b"]" * 100_000 + b"a" * 99_999)
    )


@forms
def test_long_names_cannot_fill_the_memory(tmp_path, form):
    value = {"a" * 5000: {str(i): tensor(counted(1)) for i in range(3)}}
    assert "too long" in refusal(tmp_path, form, value)


@forms
def test_kinds_that_no_array_has_are_refused_when_read(tmp_path, form):
    odd = Tensor(np.zeros(6, "<c8"), 0, (3,), (1,), "ComplexFloatStorage")
    entries = written(tmp_path, form, {"a": tensor(counted(3)), "odd": odd})
    assert entries["odd"].dtype == object and entries["odd"].shape == (3,)
    np.testing.assert_array_equal(entries["a"].read(), counted(3))
    with pytest.raises(UserError, match="'odd' holds torch's type ComplexFloat"):
        entries["odd"].read()


@forms
def test_cuts_are_refused_by_one_line_with_the_name(tmp_path, form):
    path = FORMS[form][1](tmp_path / "model.pth", samples.checkpoint())
    data = path.read_bytes()
    for part in range(16):
        path.write_bytes(data[: len(data) * part // 16])
        with pytest.raises(UserError) as error:
            FORMS[form][0](path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


@forms
def test_a_missing_file_is_named(tmp_path, form):
    with pytest.raises(UserError, match="gone.pth"):
        FORMS[form][0](tmp_path / "gone.pth")


def test_damage_in_a_storage_is_found_when_it_is_read(tmp_path):
    path = torch_writer.write_zip(tmp_path / "m.pth", {"a": tensor(counted(99))})
    data = path.read_bytes()
    path.write_bytes(data.replace(counted(99).tobytes(), counted(99)[::-1].tobytes()))
    entries = torch_zip.open(path).entries
    with pytest.raises(UserError, match="m.pth.*checksum"):
        entries["a"].read()


def test_a_short_or_missing_storage_is_refused(tmp_path):
    path = torch_writer.write_zip(tmp_path / "m.pth", {"a": tensor(counted(99))})
    for members, message in (
        ({"data/0": b"1234"}, "has 4 bytes where 396 belong"),
        ({}, "lacks 'x/data/0'"),
        ({"byteorder": b"middle"}, "byte order"),
        ({"constants.pkl": b""}, "TorchScript"),
        ({"more/data.pkl": b""}, "lacks 'x/data/0'"),
    ):
        with zipfile.ZipFile(path) as file:
            pickle = file.read("archive/data.pkl")
        other = tmp_path / "other.pth"
        with zipfile.ZipFile(other, "w") as file:
            file.writestr("x/data.pkl", pickle)
            for name, data in members.items():
                file.writestr(f"x/{name}", data)
        with pytest.raises(UserError, match=message):
            torch_zip.open(other).entries["a"].read()


def test_compressed_torch_files_are_refused(tmp_path):
    value, method = {"a": tensor(counted(99))}, zipfile.ZIP_DEFLATED
    path = torch_writer.write_zip(tmp_path / "m.pth", value, method=method)
    with pytest.raises(UserError, match="is compressed"):
        torch_zip.open(path)


def test_two_pickles_in_a_zip_file_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pth", "w") as file:
        file.writestr("a/data.pkl", b"")
        file.writestr("b/data.pkl", b"")
    with pytest.raises(UserError, match="2 members data.pkl"):
        torch_zip.open(tmp_path / "m.pth")


def test_the_tar_form_is_refused_by_name(tmp_path):
    path = tmp_path / "old.pth"
    path.write_bytes(bytes(257) + b"ustar" + bytes(300))
    assert torch_legacy.matches(memoryview(path.read_bytes()))
    with pytest.raises(UserError, match="tar file, as torch before 0.1.10"):
        torch_legacy.open(path)


@pytest.mark.parametrize("count", [-1, 4, 1 << 62])
def test_a_storage_that_does_not_fit_a_legacy_file_is_refused(tmp_path, count):
    path = torch_writer.write_legacy(tmp_path / "m.pth", {"a": tensor(counted(3))})
    data = path.read_bytes()
    path.write_bytes(data[:-20] + struct.pack("<q", count) + data[-12:])
    with pytest.raises(UserError, match="m.pth.*does not fit"):
        torch_legacy.open(path)


def test_a_legacy_storage_shorter_than_its_tensor_is_refused(tmp_path):
    path = torch_writer.write_legacy(tmp_path / "m.pth", {"a": tensor(counted(3))})
    data = path.read_bytes()
    path.write_bytes(data[:-20] + struct.pack("<q", 2) + data[-12:])
    with pytest.raises(UserError, match="too short"):
        torch_legacy.open(path).entries["a"].read()


def test_parts_of_storages_of_the_oldest_files_come_back(tmp_path):
    kind = Name("torch", "FloatStorage")
    place = torch_writer.Persistent(("storage", kind, "0", "cpu", 6, ("v", 2, 3)))
    part = Call(Name("torch._utils", "_rebuild_tensor"), (place, 1, (2,), (1,)))
    entries = written(tmp_path, "legacy", {"a": tensor(counted(6)), "part": part})
    check(entries, {"a": counted(6), "part": counted(6)[3:5]})
