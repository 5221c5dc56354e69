import struct
import zipfile

import numpy as np
import pytest

from jaxseg.pretrained.readers import archive
from jaxseg.pretrained.readers.entries import Malformed

NUMBERS = bytes(range(256)) * 20


def write(path, members, method=zipfile.ZIP_STORED, comment=b""):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
        file.comment = comment
    return path.read_bytes()


def opened(data):
    return archive.Archive(memoryview(data))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_come_back(tmp_path, method):
    members = {"a/b": NUMBERS, "empty": b"", "\u00e4": b"x" * 300_000}
    found = opened(write(tmp_path / "f", members, method, b"a comment"))
    assert {name: bytes(found.read(name)) for name in found.members} == members
    assert found.start("a/b", 7) == NUMBERS[:7]
    assert found.start("empty", 7) == b""


@pytest.mark.parametrize("size", [0, 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 3 << 20])
@pytest.mark.parametrize("unit", [b"\0", b"0123456789"])
def test_what_compresses_well_comes_back(tmp_path, size, unit):
    data = (unit * size)[:size]
    found = opened(write(tmp_path / "f", {"a": data}, zipfile.ZIP_DEFLATED))
    assert found.read("a") == data
    for count in (1, 100, size):
        assert found.start("a", count) == data[:count]


def test_noise_comes_back(tmp_path):
    data = np.random.default_rng(0).bytes(300_000)
    found = opened(write(tmp_path / "f", {"a": data}, zipfile.ZIP_DEFLATED))
    assert found.read("a") == data
    assert found.start("a", 1000) == data[:1000]


def test_an_empty_archive_has_no_members(tmp_path):
    assert opened(write(tmp_path / "f", {})).members == {}


def test_members_with_large_sizes_come_back(tmp_path):
    path = tmp_path / "f"
    with zipfile.ZipFile(path, "w") as file:
        with file.open("a", "w", force_zip64=True) as member:
            member.write(NUMBERS)
    data = path.read_bytes()
    assert bytes(opened(data).read("a")) == NUMBERS
    assert bytes(opened(large(data)).read("a")) == NUMBERS


def large(data):
    """Return an archive of one member with sizes and places that need 64 bits."""
    at = data.rindex(b"PK\1\2")
    end = data.rindex(b"PK\5\6")
    name_size = struct.unpack_from("<H", data, at + 28)[0]
    line = bytearray(data[at : at + 46 + name_size])
    packed, size = struct.unpack_from("<II", line, 20)
    struct.pack_into("<II", line, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", line, 30, 28)
    struct.pack_into("<I", line, 42, 0xFFFFFFFF)
    line += struct.pack("<HHQQQ", 1, 24, size, packed, 0)
    end64 = struct.pack(
        "<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(line), at
    )
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at + len(line), 1)
    tail = bytearray(data[end:])
    struct.pack_into("<HHII", tail, 8, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    return data[:at] + bytes(line) + end64 + locator + bytes(tail)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_changed_bytes_fail_the_checksum(tmp_path, method):
    data = bytearray(write(tmp_path / "f", {"a": NUMBERS}, method))
    data[60] ^= 1
    with pytest.raises(Malformed, match="checksum|unpack|damaged"):
        opened(data).read("a")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_cut_is_refused(tmp_path, method):
    data = write(tmp_path / "f", {"a": NUMBERS, "b": b"1"}, method)
    for size in [*range(0, len(data), 97), len(data) - 1]:
        with pytest.raises(Malformed):
            opened(data[:size])


def test_what_unpacks_to_far_more_than_the_file_is_refused(tmp_path):
    data = write(tmp_path / "f", {"a": bytes(70 << 20)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(Malformed, match="unpack to far more"):
        opened(data)


def patched(data, offset, form, value):
    """Return an archive of one member with another number in its directory."""
    out = bytearray(data)
    struct.pack_into(form, out, data.rindex(b"PK\1\2") + offset, value)
    return out


def test_a_size_that_deflate_cannot_reach_is_refused(tmp_path):
    data = write(tmp_path / "f", {"a": b"12345"}, zipfile.ZIP_DEFLATED)
    with pytest.raises(Malformed, match="should unpack to 40000000"):
        opened(patched(data, 24, "<I", 40_000_000)).read("a")


@pytest.mark.parametrize("size", [4, 6])
def test_another_size_than_declared_is_refused(tmp_path, size):
    data = write(tmp_path / "f", {"a": b"12345"}, zipfile.ZIP_DEFLATED)
    with pytest.raises(Malformed):
        opened(patched(data, 24, "<I", size)).read("a")


@pytest.mark.parametrize(
    "offset, form, value, message",
    [
        (8, "<H", 1, "encrypted"),
        (10, "<H", 12, "packed by method 12"),
        (20, "<I", 9, "two sizes"),
        (28, "<H", 60_000, "breaks off"),
        (42, "<I", 1 << 31, "overlap"),
        (0, "<I", 0, "breaks off"),
    ],
)
def test_odd_directories_are_refused(tmp_path, offset, form, value, message):
    data = write(tmp_path / "f", {"a": b"12345"})
    with pytest.raises(Malformed, match=message):
        opened(patched(data, offset, form, value))


def test_a_member_may_not_reach_into_the_next(tmp_path):
    data = write(tmp_path / "f", {"a": b"1" * 50, "b": b"2" * 50})
    at = data.index(b"PK\1\2")
    out = bytearray(data)
    struct.pack_into("<II", out, at + 20, 120, 120)
    with pytest.raises(Malformed, match="overlaps"):
        opened(out).read("a")


def test_members_may_not_share_their_bytes(tmp_path):
    data = write(tmp_path / "f", {"a": b"1" * 50, "b": b"1" * 50})
    out = bytearray(data)
    struct.pack_into("<I", out, data.rindex(b"PK\1\2") + 42, 0)
    with pytest.raises(Malformed, match="overlap"):
        opened(out)


def test_a_name_may_not_come_twice(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        with zipfile.ZipFile(tmp_path / "f", "w") as file:
            file.writestr("a", b"1")
            file.writestr("a", b"2")
    with pytest.raises(Malformed, match="'a' twice"):
        opened((tmp_path / "f").read_bytes())


def test_a_directory_of_very_many_members_is_refused():
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0, 0, 0)
    with pytest.raises(Malformed, match="65535 members"):
        opened(end)


def test_noise_is_refused():
    rng = np.random.default_rng(1)
    for _ in range(50):
        with pytest.raises(Malformed):
            opened(rng.bytes(300))
        with pytest.raises(Malformed):
            opened(b"PK\5\6" + rng.bytes(16) + b"\0\0")
