"""A small writer of TensorFlow's checkpoint files, to read them back and break them.

It follows the same descriptions of the formats as the readers, but shares no code with
them except the checksum and the key of a slice, which have tests of their own.
"""

import struct
from pathlib import Path

import numpy as np

from jaxseg.pretrained.readers import crc32c, snappy, sstable, tf_slices

KINDS = {dtype: kind for kind, dtype in tf_slices.DTYPES.items()}
STRING = 7


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    """Return a field: an int as a varint, bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def shape_proto(shape):
    return b"".join(field(2, field(1, size)) for size in shape)


def slice_proto(extents):
    """Return the message of a slice; each extent is (start, length) or None for all."""
    inner = (b"" if e is None else field(1, e[0]) + field(2, e[1]) for e in extents)
    return b"".join(field(1, one) for one in inner)


def _key(name, extents):
    return tf_slices.key(
        name, [tf_slices.Extent(*((0, None) if e is None else e)) for e in extents]
    )


def _cut(array, extents):
    return array[
        tuple(slice(*((None,) if e is None else (e[0], sum(e)))) for e in extents)
    ]


def table(records, block_size=4096, interval=16, compress=None):
    """Return the bytes of a table with sorted records; compress makes blocks snappy."""
    out, index = bytearray(), []

    def put(block, kind=0):
        body = compress(block) if kind else block
        at = len(out)
        out.extend(body + bytes([kind]))
        checksum = crc32c.crc32c(body + bytes([kind]))
        out.extend(struct.pack("<I", crc32c.mask(checksum)))
        return varint(at) + varint(len(body))

    pending, size, kind = [], 0, int(compress is not None)
    for key, value in records:
        pending.append((key, value))
        size += len(key) + len(value)
        if size >= block_size:
            index.append((key, put(block(pending, interval), kind)))
            pending, size = [], 0
    if pending:
        index.append((pending[-1][0], put(block(pending, interval), kind)))
    footer = put(block([])) + put(block(index, 1))
    return bytes(out) + footer.ljust(40, b"\0") + sstable.MAGIC


def block(records, interval=16):
    """Return the bytes of a block, without what follows it in a table."""
    out, restarts, before = bytearray(), [0], b""
    for i, (key, value) in enumerate(records):
        shared = 0
        if i and i % interval == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        before = key
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def entry(kind, shape, shard=0, offset=0, size=0, checksum=0, slices=()):
    """Return a BundleEntryProto."""
    out = field(1, kind) + field(2, shape_proto(shape))
    out += field(3, shard) + field(4, offset) + field(5, size)
    out += varint(6 << 3 | 5) + struct.pack("<I", checksum)
    return out + b"".join(field(7, slice_proto(s)) for s in slices)


def header(shards=1, endianness=0, consumer=0):
    """Return a BundleHeaderProto."""
    versions = field(1, 1) + field(2, consumer)
    return field(1, shards) + field(2, endianness) + field(3, versions)


def write_v2(prefix, arrays, slices=None, shards=1, strings=(), **options):
    """Write a V2 checkpoint; every second tensor goes to the second of two files."""
    records = [(b"", header(shards))]
    data = [bytearray() for _ in range(shards)]

    def add(key, kind, shape, raw):
        shard = len(records) % shards
        checksum = crc32c.mask(crc32c.crc32c(raw))
        place = (shard, len(data[shard]), len(raw), checksum)
        records.append((key, entry(kind, shape, *place)))
        data[shard].extend(raw)

    for name, array in arrays.items():
        kind = KINDS[array.dtype]
        parts = (slices or {}).get(name)
        if parts is None:
            add(name.encode(), kind, array.shape, array.tobytes())
            continue
        records.append((name.encode(), entry(kind, array.shape, slices=parts)))
        for extents in parts:
            part = _cut(array, extents)
            add(_key(name, extents), kind, part.shape, part.tobytes())
    for name in strings:
        add(name.encode(), STRING, (1,), b"\x02\0\0\0\0hi")
    write_parts(prefix, sorted(records), data, **options)


def write_parts(prefix, records, data, **options):
    """Write the files of a V2 checkpoint from the records of its index."""
    Path(f"{prefix}.index").write_bytes(table(records, **options))
    for shard, raw in enumerate(data):
        Path(f"{prefix}.data-{shard:05d}-of-{len(data):05d}").write_bytes(raw)


def write_v1(path, arrays, slices=None, strings=(), packed=True, **options):
    """Write a V1 checkpoint."""
    listed, records = b"", []
    for name, array in arrays.items():
        parts = (slices or {}).get(name, [[None] * array.ndim])
        listed += field(1, listing(name, KINDS[array.dtype], array.shape, parts))
        for extents in parts:
            tensor = tensor_proto(_cut(array, extents), packed)
            records.append((_key(name, extents), saved(name, extents, tensor)))
    for name in strings:
        listed += field(1, listing(name, STRING, (1,), [[None]]))
        records.append((_key(name, [None]), saved(name, [None], field(8, b"hi"))))
    write_records(path, listed, records, **options)


def write_records(path, listed, records, **options):
    """Write a V1 checkpoint from the list of its tensors and its other records."""
    first = (b"", field(1, listed + field(2, field(1, 1))))
    Path(path).write_bytes(table([first, *sorted(records)], **options))


def listing(name, kind, shape, parts):
    """Return a SavedSliceMeta."""
    out = field(1, name.encode()) + field(2, shape_proto(shape)) + field(3, kind)
    return out + b"".join(field(4, slice_proto(extents)) for extents in parts)


def saved(name, extents, tensor):
    """Return the SavedTensorSlices with the numbers of one slice."""
    inner = field(1, name.encode()) + field(2, slice_proto(extents)) + field(3, tensor)
    return field(2, inner)


def tensor_proto(array, packed=True):
    """Return a TensorProto that holds numbers as V1 checkpoints do."""
    flat = array.reshape(-1)
    number = {"<f4": 5, "<f8": 6, "<i8": 10, "|b1": 11, "<f2": 13, "<V2": 13}.get(
        array.dtype.str, {"<u4": 16, "<u8": 17}.get(array.dtype.str, 7)
    )
    if number in (5, 6):
        if packed:
            return field(number, flat.tobytes())
        wire = 5 if number == 5 else 1
        return b"".join(varint(number << 3 | wire) + x.tobytes() for x in flat)
    if number == 13:
        flat = flat.view(np.uint16)
    values = [int(x) for x in flat]
    if packed:
        return field(number, b"".join(map(varint, values)))
    return b"".join(field(number, x & (1 << 64) - 1) for x in values)


def literal_snappy(data):
    """Return snappy data without copies."""
    parts = [data[i : i + 60] for i in range(0, len(data), 60)]
    return varint(len(data)) + b"".join(bytes([len(p) - 1 << 2]) + p for p in parts)


def records_of(data):
    """Return the keys and values of a table that is whole."""
    _, *blocks = _blocks(data)
    bodies = [_body(memoryview(data), *place) for place in blocks]
    return [(k, bytes(v)) for body in bodies for k, v in sstable._records(body)]


def _body(data, offset, size):
    body = data[offset : offset + size]
    return memoryview(snappy.decompress(body)) if data[offset + size] else body


def reseal(data):
    """Return a table with the checksums that its blocks should have, where it can.

    Damage behind a right checksum is what a reader must find by itself.
    """
    out = bytearray(data)
    for offset, size in _blocks(data):
        body = bytes(out[offset : offset + size + 1])
        if len(body) == size + 1 and offset + size + 5 <= len(out):
            checksum = struct.pack("<I", crc32c.mask(crc32c.crc32c(body)))
            out[offset + size + 1 : offset + size + 5] = checksum
    return bytes(out)


def _blocks(data):
    """Yield the places of the blocks of a table that may be damaged."""
    try:
        view = memoryview(data)
        index, _ = sstable._handle(view, sstable._handle(view, len(data) - 48)[1])
        yield index
        body = view[index.offset : index.offset + index.size]
        for _, value in sstable._records(body):
            yield sstable._handle(value, 0)[0]
    except (sstable.Malformed, IndexError):
        return
