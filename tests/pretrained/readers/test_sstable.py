import struct

import pytest

from jaxseg.pretrained.readers import crc32c, sstable
from jaxseg.pretrained.readers.entries import MOST_ENTRIES, Malformed
from tests.pretrained import tables

RECORDS = [(b"", b"first")] + [
    (f"net/layer_{i:04d}/weights".encode(), bytes([i % 256]) * (i % 50))
    for i in range(500)
]


def opened(tmp_path, data):
    path = tmp_path / "table"
    path.write_bytes(data)
    return sstable.Table(path)


def records(table):
    return [(key, bytes(value)) for key, value in table.records()]


@pytest.mark.parametrize("compress", [None, tables.literal_snappy])
@pytest.mark.parametrize("block_size", [1, 700, 10**6])
def test_records_and_single_values_come_back(tmp_path, block_size, compress):
    data = tables.table(RECORDS, block_size, compress=compress)
    table = opened(tmp_path, data)
    assert records(table) == RECORDS
    for key, value in RECORDS[::-7] + RECORDS[::7]:
        assert bytes(table.get(key)) == value
    for missing in (b"\0", b"net/layer_0100", b"net/layer_0100/weights0", b"zzz"):
        assert table.get(missing) is None


def test_keys_of_the_index_may_lie_between_blocks(tmp_path):
    # Writers shorten them: any key from the block's last to before the next first.
    data = bytearray()
    places = []
    for part in ([(b"apple", b"1")], [(b"cherry", b"2")]):
        places.append((len(data), len(tables.block(part))))
        data += sealed(tables.block(part))
    index = [(b"b", handle(*places[0])), (b"d", handle(*places[1]))]
    table = opened(tmp_path, finished(data, index))
    assert bytes(table.get(b"apple")) == b"1" and bytes(table.get(b"cherry")) == b"2"
    assert table.get(b"b") is None


def test_table_ends_as_one(tmp_path):
    path = tmp_path / "table"
    path.write_bytes(tables.table(RECORDS))
    assert sstable.ends_as_table(path)
    path.write_bytes(tables.table(RECORDS)[:-1])
    assert not sstable.ends_as_table(path)
    assert not sstable.ends_as_table(tmp_path)
    assert not sstable.ends_as_table(tmp_path / "gone")


def test_every_cut_is_refused(tmp_path):
    data = tables.table(RECORDS, 2000)
    for size in [*range(0, len(data), 997), len(data) - 48, len(data) - 1]:
        with pytest.raises(Malformed):
            records(opened(tmp_path, data[:size]))


def test_every_flipped_byte_of_a_block_is_found(tmp_path):
    data = sealed(tables.block(RECORDS[:20]))
    data = finished(data, [(b"z", handle(0, len(data) - 5))])
    for at in range(len(data) - 48):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        with pytest.raises(Malformed):
            records(opened(tmp_path, bytes(damaged)))


def test_the_same_block_twice_is_refused(tmp_path):
    data = sealed(tables.block(RECORDS[:3]))
    place = handle(0, len(data) - 5)
    with pytest.raises(Malformed, match="starts before"):
        opened(tmp_path, finished(data, [(b"a", place), (b"b", place)]))


def test_keys_that_grow_without_bytes_are_refused(tmp_path):
    out, key = bytearray(), b""
    for _ in range(MOST_ENTRIES - 1):
        out += tables.varint(len(key)) + b"\x01\x00" + b"k"
        key += b"k"
    body = bytes(out) + struct.pack("<2I", 0, 1)
    with pytest.raises(Malformed, match="key"):
        records(
            opened(tmp_path, finished(sealed(body), [(b"l", handle(0, len(body)))]))
        )


def test_too_many_records_are_refused(tmp_path):
    many = [(i.to_bytes(3, "big"), b"") for i in range(MOST_ENTRIES + 1)]
    with pytest.raises(Malformed, match="records"):
        records(opened(tmp_path, tables.table(many, 10**6)))


@pytest.mark.parametrize("body", [b"", b"\0\0\0", b"\xff\xff\xff\xff", b"\x02\0\0\0"])
def test_block_without_its_restart_points_is_refused(tmp_path, body):
    data = finished(sealed(body), [(b"a", handle(0, len(body)))])
    with pytest.raises(Malformed, match="restart"):
        records(opened(tmp_path, data))


def test_place_beyond_the_file_is_refused(tmp_path):
    data = finished(sealed(tables.block([])), [(b"a", handle(0, 2**63))])
    with pytest.raises(Malformed, match="a block of"):
        records(opened(tmp_path, data))


def test_unknown_compression_is_refused(tmp_path):
    body = tables.block(RECORDS[:2])
    data = finished(sealed(body, kind=9), [(b"a", handle(0, len(body)))])
    with pytest.raises(Malformed, match="compression 9"):
        records(opened(tmp_path, data))


def sealed(body, kind=0):
    checksum = crc32c.mask(crc32c.crc32c(body + bytes([kind])))
    return body + bytes([kind]) + struct.pack("<I", checksum)


def handle(offset, size):
    return tables.varint(offset) + tables.varint(size)


def finished(data, index):
    """Return a table from sealed blocks and the records of its index."""
    body = tables.block(index, 1)
    footer = handle(0, 0) + handle(len(data), len(body))
    return bytes(data) + sealed(body) + footer.ljust(40, b"\0") + sstable.MAGIC
