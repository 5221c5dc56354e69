import numpy as np
import pytest

from jaxseg.pretrained.readers import crc32c


def slow(data):
    """Return the CRC by its definition, one bit at a time."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


# RFC 3720, appendix B.4, and the check value of the catalogue of CRC algorithms.
@pytest.mark.parametrize(
    "data, expected",
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_published_values(data, expected):
    assert crc32c.crc32c(data) == expected


@pytest.mark.parametrize("size", [2047, 2048, 2049, 4096, 30_001])
def test_long_data_has_the_checksum_of_the_definition(size):
    data = np.random.default_rng(size).bytes(size)
    assert crc32c.crc32c(data) == slow(data)


def test_data_of_many_chunks_continues_that_of_few():
    # CRC(a xor b xor c) = CRC(a) xor CRC(b) xor CRC(c), and zeros are long shifts.
    rng = np.random.default_rng(1)
    size = (5 << 20) + 12_345
    a, b = (np.frombuffer(rng.bytes(size), np.uint8) for _ in range(2))
    c = np.zeros(size, np.uint8)
    both = crc32c.crc32c(a) ^ crc32c.crc32c(b) ^ crc32c.crc32c(c)
    assert crc32c.crc32c(a ^ b) == both
    # The bytes of the register bring it to zero, whatever came before them.
    register = (crc32c.crc32c(a) ^ 0xFFFFFFFF).to_bytes(4, "little")
    assert crc32c.crc32c(a.tobytes() + register) == 0xFFFFFFFF


def test_masks_undo_one_another():
    assert crc32c.mask(0) == 0xA282EAD8
    for crc in (0, 1, 0xFFFFFFFF, 0x12345678):
        assert crc32c.unmask(crc32c.mask(crc)) == crc
        assert 0 <= crc32c.mask(crc) <= 0xFFFFFFFF
