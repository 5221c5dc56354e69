"""Sorted tables of keys and values: the files in which TensorFlow keeps its names.

Source: doc/table_format.md of google/leveldb. A file has data blocks, an index block
with the place of each, and a footer with the place of the index. A block has records
whose keys leave out what they share with the key before, then restart points that only
a search within the block needs; a byte for compression and a checksum follow it.
"""

import bisect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxseg.pretrained.readers import crc32c, proto, snappy
from jaxseg.pretrained.readers.entries import (
    LONGEST_NAME,
    MOST_ENTRIES,
    Malformed,
    file_size,
)

MAGIC = bytes.fromhex("57fb808b247547db")

_FOOTER = 48  # bytes: two handles, zeros, the magic number
_TRAILER = 5  # bytes: compression, checksum
_MOST_BYTES = 16 << 20  # of all keys, and of all blocks beyond those of the file
# A key of a slice holds, beyond a name, up to 21 bytes for each dimension.
_LONGEST_KEY = 2 * LONGEST_NAME + 1024


class _Handle(NamedTuple):
    offset: int  # bytes
    size: int  # bytes, without the trailer


class Table:
    """Hold an opened table: where its blocks lie, and the block read last."""

    def __init__(self, path: str | os.PathLike):
        """Read the footer and the index; Malformed or OSError where that fails."""
        self.path = Path(path)
        self.size = file_size(path)
        self._last_keys: list[bytes] = []
        self._handles: list[_Handle] = []
        self._at, self._records = -1, {}
        end = 0
        for key, value in _records(self._block(self._footer())):
            handle, _ = _handle(value, 0)
            # Blocks that share bytes could make a small file an endless one.
            if handle.offset < end:
                raise Malformed(
                    f"the block at byte {handle.offset} starts before {end}"
                )
            end = handle.offset + handle.size + _TRAILER
            self._last_keys.append(key)
            self._handles.append(handle)

    def records(self) -> Iterator[tuple[bytes, memoryview]]:
        """Yield all keys and values, in the order of the keys.

        Raises:
          Malformed: a block is damaged, or there are more records, longer keys or more
            bytes than a checkpoint of this size has.
        """
        count = keys = total = 0
        before = None
        for handle in self._handles:
            block = self._block(handle)
            total += len(block)
            for key, value in _records(block):
                count, keys = count + 1, keys + len(key)
                if before is not None and key <= before:
                    raise Malformed(
                        f"keys out of order in the block at {handle.offset}"
                    )
                if count > MOST_ENTRIES:
                    raise Malformed(f"more than {MOST_ENTRIES} records")
                if keys > 2 * self.size + _MOST_BYTES:
                    raise Malformed(f"{keys} bytes of keys")
                before = key
                yield key, value
            if total > 4 * self.size + _MOST_BYTES:
                raise Malformed(f"blocks of more than {total} bytes")

    def get(self, key: bytes) -> memoryview | None:
        """Return the value of a key, or None; fast for keys in increasing order."""
        at = bisect.bisect_left(self._last_keys, key)
        if at == len(self._handles):
            return None
        if at != self._at:
            # The old block goes first, so that only one is in memory.
            self._at, self._records = -1, {}
            self._records = dict(_records(self._block(self._handles[at])))
            self._at = at
        return self._records.get(key)

    def _footer(self) -> _Handle:
        """Return the place of the index block."""
        if self.size < _FOOTER:
            raise Malformed(f"{self.size} bytes are too few for a table")
        footer = self._bytes(self.size - _FOOTER, _FOOTER)
        if footer[-len(MAGIC) :] != MAGIC:
            raise Malformed(f"no table ends at byte {self.size}; it may be cut short")
        _, at = _handle(footer, 0)
        handle, _ = _handle(footer, at)
        return handle

    def _block(self, handle: _Handle) -> memoryview:
        """Return the checked and decompressed bytes of a block."""
        if handle.offset + handle.size + _TRAILER > self.size - _FOOTER:
            raise Malformed(
                f"a block of {handle.size} bytes at byte {handle.offset} of {self.size}"
            )
        stored = self._bytes(handle.offset, handle.size + _TRAILER)
        checksum = int.from_bytes(stored[-4:], "little")
        if crc32c.crc32c(stored[:-4]) != crc32c.unmask(checksum):
            raise Malformed(f"the block at byte {handle.offset} fails its checksum")
        kind, block = stored[handle.size], stored[: handle.size]
        if kind == 1:
            return memoryview(snappy.decompress(block)).toreadonly()
        if kind:
            raise Malformed(f"compression {kind} of the block at byte {handle.offset}")
        return block

    def _bytes(self, offset: int, size: int) -> memoryview:
        with open(self.path, "rb") as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise Malformed(f"it ends within {size} bytes at byte {offset}")
        return memoryview(data)


def ends_as_table(path: str | os.PathLike) -> bool:
    """Return whether a file is there and ends as tables do."""
    try:
        if file_size(path) < _FOOTER:
            return False
        with open(path, "rb") as file:
            file.seek(-len(MAGIC), os.SEEK_END)
            return file.read() == MAGIC
    except (OSError, Malformed):
        return False


def _handle(data: memoryview, at: int) -> tuple[_Handle, int]:
    offset, at = proto.varint(data, at)
    size, at = proto.varint(data, at)
    return _Handle(offset, size), at


def _records(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the keys and values of one block, the keys strictly increasing."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if len(block) < 4 or end < 0:
        raise Malformed(f"{restarts} restart points in a block of {len(block)} bytes")
    before, at, count, keys = None, 0, 0, 0
    while at < end:
        shared, at = proto.varint(block, at)
        own, at = proto.varint(block, at)
        length, at = proto.varint(block, at)
        if at + own + length > end or shared > len(before or b""):
            raise Malformed(f"a record runs out of its block at byte {at} of that")
        key = (before or b"")[:shared] + bytes(block[at : at + own])
        if len(key) > _LONGEST_KEY or (before is not None and key <= before):
            raise Malformed(f"a key too long or out of order at byte {at} of a block")
        count, keys = count + 1, keys + len(key)
        if count > MOST_ENTRIES or keys > 2 * len(block) + _MOST_BYTES:
            raise Malformed("too many records or too long keys in a block")
        yield key, block[at + own : at + own + length]
        before, at = key, at + own + length
