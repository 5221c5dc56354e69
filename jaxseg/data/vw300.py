"""TFDS data set of face video: one record per frame, in video order, no TensorFlow."""

import numpy as np
import tensorflow_datasets as tfds

from jaxseg.data import dataset


class Vw300(dataset.OrderedBuilder):
    """Write records of encoded frames and label maps."""

    def __init__(self, *, image_format: str = "jpeg", **options):
        """Take the format of the images, the shards, and TFDS's own options."""
        self._image_format = image_format
        super().__init__(**options)

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
