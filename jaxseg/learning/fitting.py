"""What a network asks of the frames that it is trained on."""

from typing import Any

import numpy as np

from jaxseg.data import source
from jaxseg.errors import UserError
from jaxseg.models import segmenter


def check_frames(settings: dict[str, Any], *sources: source.FrameSource) -> None:
    """Refuse frames without labels, or with more classes than N tells apart.

    Raises:
      UserError: names the split or the numbers.
    """
    known = settings["segmenter"]["num_classes"]
    for frames in sources:
        if known < len(frames.classes):
            raise UserError(
                f"segmenter.num_classes is {known} for data of {len(frames.classes)} "
                "classes; expected as many or more; change "
                "--config.segmenter.num_classes"
            )
        if not len(frames.labelled):
            raise UserError(
                f"split {frames.split}: none of its {len(frames)} frames has labels; "
                "expected some; prepare the set with annotations"
            )


def mean_colour(net: segmenter.Segmenter) -> tuple[int, int, int]:
    """Return the RGB, in whole numbers, that `net` turns into zeros.

    Images are padded with it, so that what is about them says as little as possible
    (tensorflow/models, research/deeplab, core/feature_extractor.py). Halves are rounded
    down: 127 for networks that take images in [-1, 1].
    """
    if hasattr(net, "mean"):
        colour = np.asarray(net.mean)
    else:
        black, white = (
            np.asarray(net.prepare(np.full((1, 1, 1, 3), value, np.float32)))[0, 0, 0]
            for value in (0.0, 255.0)
        )
        colour = 255 * black / (black - white)
    # Arithmetic of 32 bits leaves a half a millionth off.
    return tuple(int(value) for value in np.ceil(np.round(colour, 3) - 0.5))
