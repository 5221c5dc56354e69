"""A small writer of .caffemodel files, in their newer and older forms."""

import struct

from tests.pretrained.tables import field, varint


def blob(array, old=False, packed=True):
    """Return a BlobProto."""
    if old:
        shape = (1,) * (4 - array.ndim) + array.shape
        out = b"".join(field(i + 1, size) for i, size in enumerate(shape))
    else:
        out = field(7, field(1, b"".join(map(varint, array.shape))))
    number = {"<f4": 5, "<f8": 8}[array.dtype.str]
    if packed:
        return out + field(number, array.tobytes())
    wire = 5 if number == 5 else 1
    return out + b"".join(
        varint(number << 3 | wire) + x.tobytes() for x in array.reshape(-1)
    )


def layer(name, blobs, old=False, **options):
    """Return a layer as a field of the net, with the numbers that Caffe gives it."""
    kind = field(5, 4) if old else field(2, b"Convolution")
    loss = varint(5 << 3 | 5) + struct.pack("<f", 1.0)
    name_field, blob_field, number = (4, 6, 2) if old else (1, 7, 100)
    out = field(name_field, name.encode()) + kind + (b"" if old else loss)
    out += b"".join(field(blob_field, blob(b, old, **options)) for b in blobs)
    return field(number, out)


def net(layers, old=False, **options):
    """Return a NetParameter from names to lists of arrays."""
    return field(1, b"TestNet") + b"".join(
        layer(name, blobs, old, **options) for name, blobs in layers.items()
    )
