"""TFDS data sets of frames in a fixed order, written and read without TensorFlow."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from jaxseg.errors import UserError

_SYSTEM_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
)

Shard = Callable[[], Iterator[tuple[int, dict]]]


class OrderedBuilder(tfds.core.ShardBasedBuilder):
    """Write records shard by shard, in the order given; a subclass has the features.

    A shard-based builder, because the generator-based one keeps up to a gigabyte of a
    split in memory and beyond that needs TensorFlow for its sorting files.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, shards: Mapping[str, Sequence[Shard]], **options):
        """Take the shards of every split, and TFDS's own options."""
        self._shards = shards
        super().__init__(file_format="array_record", **options)

    def _shard_iterators_per_split(self, dl_manager):
        del dl_manager  # nothing is downloaded
        return self._shards

    def _log_download_bytes(self) -> None:
        """Say nothing: TFDS would announce a download of unknown size."""

    def _log_download_done(self) -> None:
        """Say nothing: the records still have to be moved to their place."""


def write(builder: OrderedBuilder, folder: Path) -> str:
    """Write all shards of a builder below `folder`; return the data set's folder in it.

    The builder's `data_dir` is `folder`. Raises UserError where the place has no room
    or permission.
    """
    tfds.disable_progress_bar()
    try:
        builder.download_and_prepare(
            download_dir=str(folder / "downloads"),
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )
    except (OSError, RuntimeError) as error:
        if not _is_of_the_system(error):
            raise
        raise UserError(
            f"{folder}: writing failed ({' '.join(str(error).split())}); expected room "
            "and permission; make some and prepare again"
        ) from error
    return str(Path(builder.data_path).relative_to(folder))


def _is_of_the_system(error: Exception) -> bool:
    # The writer of records turns a full disk into a RuntimeError that cites it.
    return isinstance(error, OSError) or any(
        os.strerror(code) in str(error) for code in _SYSTEM_ERRORS
    )


def open_split(folder: Path, split: str) -> Sequence[dict]:
    """Return random access to the records of a split, images still encoded.

    The result has `__len__` and `__getitems__(indices)`; images and texts are bytes.
    """
    builder = tfds.builder_from_directory(str(folder))
    undecoded = {
        name: tfds.decode.SkipDecoding()
        for name, feature in builder.info.features.items()
        if isinstance(feature, tfds.features.Image)
    }
    return builder.as_data_source(split=split, decoders=undecoded or None)
