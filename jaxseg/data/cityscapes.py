"""TFDS data set of Cityscapes: its classes, and records that refer to its files.

The frames of the sequences are 324 GB of PNG, so they stay where the user's archives
were unpacked; a record holds paths below that folder.
"""

import numpy as np
import tensorflow_datasets as tfds

from jaxseg.data import classes, dataset

SPLITS = ("train", "val", "test")

# The labels that are trained on: (id in the label images, name, RGB); their place is
# the train id. Source: mcordts/cityscapesScripts, cityscapesscripts/helpers/labels.py.
_TRAINED = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
NAMES = tuple(name for _, name, _ in _TRAINED)
PALETTE = np.array([colour for _, _, colour in _TRAINED], np.uint8)
NUM_LABELS = 34  # ids 0..33; those that are not trained on are ignored


def lookup() -> np.ndarray:
    """Return the table [256] int16 from stored id to class, -1 where there is no id.

    The id -1 of licence plates is not drawn; as a byte it would be 255, ignored too.
    """
    table = np.full(256, classes.UNKNOWN, np.int16)
    table[:NUM_LABELS] = classes.IGNORE
    table[255] = classes.IGNORE
    for label, (stored, _, _) in enumerate(_TRAINED):
        table[stored] = label
    return table


class CityscapesSnippets(dataset.OrderedBuilder):
    """Write records that name a frame's files, relative to the unpacked archives."""

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Street video with 19 classes, one record per frame.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Text(),
                    "label": tfds.features.Text(),  # "" where it has none
                    "video": tfds.features.Text(),  # name of the annotated frame
                    "frame": tfds.features.Scalar(np.int32),
                }
            ),
            disable_shuffling=True,
        )
