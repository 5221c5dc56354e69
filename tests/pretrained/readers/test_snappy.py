import pytest

from jaxseg.pretrained.readers import snappy
from jaxseg.pretrained.readers.entries import Malformed
from tests.pretrained import tables


def decompress(data):
    return bytes(snappy.decompress(memoryview(data)))


def test_literals_of_all_lengths():
    text = bytes(range(256)) * 300
    for size, head in (
        (1, b"\x00"),
        (60, b"\xec"),
        (61, b"\xf0\x3c"),
        (256, b"\xf0\xff"),
        (257, b"\xf4\x00\x01"),
        (70_000, b"\xf8\x6f\x11\x01"),
    ):
        assert decompress(tables.varint(size) + head + text[:size]) == text[:size]
    assert decompress(tables.literal_snappy(text)) == text


def test_copies_of_all_kinds():
    literal = b"\x0cabcd"
    for copy, expected in (
        (b"\x01\x04", b"abcdabcd"),  # one byte: length 4, offset 4
        (b"\x05\x02", b"abcdcdcdc"),  # length 5 overlaps itself
        (b"\x0e\x01\x00", b"abcddddd"),  # two bytes: length 4, offset 1
        (b"\xfe\x03\x00", b"abcd" + (b"bcd" * 22)[:64]),
        (b"\x0f\x04\x00\x00\x00", b"abcdabcd"),  # four bytes
    ):
        assert decompress(tables.varint(len(expected)) + literal + copy) == expected
    far = bytes(range(256)) * 3
    data = tables.literal_snappy(far)[2:] + b"\x41\x00"  # offset 2 * 256 + 0
    assert decompress(tables.varint(len(far) + 4) + data) == far + far[256:260]


def test_nothing_is_nothing():
    assert decompress(b"\x00") == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x05\x0cabcd",  # makes fewer than it says
        b"\x03\x0cabcd",  # makes more
        b"\x04\x0cabc",  # literal runs out
        b"\x08\x0cabcd\x01\x05",  # copy from before the start
        b"\x08\x0cabcd\x01\x00",  # offset 0
        b"\x08\x0cabcd\x0e\x01",  # operand runs out
        b"\x04\xf8\x00",  # length runs out
        b"\xff\xff\xff\xff\x0f\x0cabcd",  # says 4 GiB
        b"\x01" + b"\x00a" * 3_000_000,  # longer than any block
    ],
)
def test_damage_is_refused(data):
    with pytest.raises(Malformed):
        decompress(data)
