"""TFDS data set of face video: one record per frame, in video order, no TensorFlow."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
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


class Vw300(tfds.core.ShardBasedBuilder):
    """Write records of encoded frames shard by shard, in the order given.

    A shard-based builder, because the generator-based one keeps up to a gigabyte of a
    split in memory and beyond that needs TensorFlow for its sorting files.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self,
        *,
        shards: Mapping[str, Sequence[Shard]],
        image_format: str = "jpeg",
        **options,
    ):
        """Take the shards of every split, and TFDS's own options."""
        self._shards = shards
        self._image_format = image_format
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Face video with five-class label maps, one record per frame.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(None, None, 3), encoding_format=self._image_format
                    ),
                    "label": tfds.features.Image(
                        shape=(None, None, 1), encoding_format="png"
                    ),
                    "video": tfds.features.Text(),
                    "frame": tfds.features.Scalar(np.int32),  # from 1
                    "crop": tfds.features.Tensor(shape=(4,), dtype=np.int32),
                }
            ),
            disable_shuffling=True,
        )

    def _shard_iterators_per_split(self, dl_manager):
        del dl_manager  # nothing is downloaded
        return self._shards

    def _log_download_bytes(self) -> None:
        """Say nothing: TFDS would announce a download of unknown size."""

    def _log_download_done(self) -> None:
        """Say nothing: the records still have to be moved to their place."""


def write(
    folder: Path, shards: Mapping[str, Sequence[Shard]], image_format: str
) -> str:
    """Write all shards below `folder` and return the data set's folder in it.

    Raises UserError where the place has no room or permission.
    """
    tfds.disable_progress_bar()
    builder = Vw300(data_dir=str(folder), shards=shards, image_format=image_format)
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

    The result has `__len__` and `__getitems__(indices)`; `image` and `label` are bytes.
    """
    undecoded = tfds.decode.SkipDecoding()
    return tfds.builder_from_directory(str(folder)).as_data_source(
        split=split, decoders={"image": undecoded, "label": undecoded}
    )
