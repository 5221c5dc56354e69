import struct

import numpy as np
import pytest

from jaxseg.pretrained.readers import proto
from jaxseg.pretrained.readers.entries import Malformed
from tests.pretrained import tables


def fields(data):
    return [
        (n, w, bytes(v) if w == proto.BYTES else v)
        for n, w, v in proto.fields(memoryview(data))
    ]


def test_example_of_the_specification_is_read():
    # field 1 = 150, field 2 = "testing", field 3 = { field 1 = 150 }
    data = bytes.fromhex("089601120774657374696e671a03089601")
    assert fields(data) == [(1, 0, 150), (2, 2, b"testing"), (3, 2, b"\x08\x96\x01")]


def test_fixed_sizes_are_read():
    data = b"\x35" + struct.pack("<I", 2**32 - 2) + b"\x39" + struct.pack("<Q", 2**63)
    assert fields(data) == [(6, 5, 2**32 - 2), (7, 1, 2**63)]


def test_negative_numbers_take_ten_bytes():
    ((number, wire, value),) = fields(b"\x08" + b"\xfe" + b"\xff" * 8 + b"\x01")
    assert (number, wire, proto.signed(value)) == (1, 0, -2)
    assert (
        proto.signed(2**32 - 1, 32) == -1 and proto.signed(2**31 - 1, 32) == 2**31 - 1
    )


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # no value
        b"\x08" + b"\x80" * 10 + b"\x01",  # eleven bytes
        b"\x12\x05abcd",  # bytes that run out
        b"\x12" + b"\xff" * 9 + b"\x01",  # 2^64 - 1 bytes
        b"\x0b\x0c",  # a group
        b"\x0f",  # wire type 7
        b"\x00\x00",  # field 0
        b"\x35abc",  # three of four bytes
    ],
)
def test_damage_is_refused(data):
    with pytest.raises(Malformed):
        fields(data)


def test_endless_message_is_refused():
    with pytest.raises(Malformed, match="fields"):
        for _ in proto.fields(memoryview(b"\x08\x01" * (1 << 20) + b"\x08\x01")):
            pass


VALUES = [0, 1, -1, 127, 128, 300, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]


def test_packed_numbers_become_an_array():
    packed = b"".join(map(tables.varint, VALUES))
    found = proto.numbers(memoryview(packed), np.dtype("<i8"), len(VALUES))
    np.testing.assert_array_equal(found, np.array(VALUES))
    assert proto.integers(proto.BYTES, memoryview(packed)) == VALUES


def test_packed_numbers_longer_than_a_chunk_become_an_array():
    values = np.random.default_rng(0).integers(0, 2**21, 100_000)
    packed = b"".join(map(tables.varint, values.tolist()))
    found = proto.numbers(memoryview(packed), np.dtype("<i4"), len(values))
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("packed", [b"\x01\x80", b"\x01" * 4, b"\x80" * 11 + b"\x01"])
def test_packed_numbers_cut_short_or_too_many_are_refused(packed):
    with pytest.raises(Malformed):
        proto.numbers(memoryview(packed), np.dtype("<i8"), 3)


def test_floats_are_read_packed_and_single():
    packed = memoryview(struct.pack("<2f", 0.5, -2))
    assert proto.floats(proto.BYTES, packed).tolist() == [0.5, -2]
    bits = int.from_bytes(struct.pack("<f", 0.25), "little")
    assert proto.floats(proto.FIXED32, bits).tolist() == [0.25]
    with pytest.raises(Malformed):
        proto.floats(proto.BYTES, packed[:7])
    with pytest.raises(Malformed):
        proto.floats(proto.FIXED64, bits)


def test_wrong_kind_of_value_is_refused():
    for function, wire, value in (
        (proto.message, proto.VARINT, 3),
        (proto.number, proto.BYTES, memoryview(b"x")),
        (proto.text, proto.BYTES, memoryview(b"\xff")),
    ):
        with pytest.raises(Malformed):
            function(wire, value)
