"""The five classes of a face, their colours, and the meaning of stored label ids."""

from collections.abc import Mapping

import numpy as np

from jaxseg.errors import UserError

NAMES = ("background", "skin", "eyes", "outer mouth", "inner mouth")
NUM_CLASSES = len(NAMES)
IGNORE = 255

# RGB, as the label scripts of mapleandfire/300VW-Mask paint them
# (processing_scripts/do_segmentation.m).
PALETTE = np.array(
    [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255]], np.uint8
)
IDENTITY = {value: value for value in range(NUM_CLASSES)}

UNKNOWN = -1  # in tables from stored value to class


def check_labels(labels: np.ndarray, source_name: str) -> np.ndarray:
    """Return uint8 labels [H, W] unchanged if every value is a class or `IGNORE`.

    Raises UserError naming `source_name` and the first value that is neither.
    """
    return map_labels(labels, lookup({**IDENTITY, IGNORE: IGNORE}), source_name)


def lookup(label_ids: Mapping[int, int] | None = None) -> np.ndarray:
    """Return the table [256] int16 from stored value to class, -1 where unknown.

    `label_ids` maps stored values to classes (0..4, or 255 to ignore); keys may be
    numbers written as text, as JSON has them. None stands for the identity on 0..4.
    """
    table = np.full(256, UNKNOWN, np.int16)
    for value, label in (IDENTITY if label_ids is None else label_ids).items():
        try:
            stored, label = int(value), int(label)
        except (TypeError, ValueError):
            stored, label = -1, -1
        if not (0 <= stored <= 255 and (0 <= label < NUM_CLASSES or label == IGNORE)):
            raise UserError(
                f"label_ids maps {value!r} to {label_ids[value]!r}; expected a stored "
                f"value 0..255 and a class 0..{NUM_CLASSES - 1} or {IGNORE} (ignore)"
            )
        table[stored] = label
    return table


def map_labels(pixels: np.ndarray, table: np.ndarray, source_name: str) -> np.ndarray:
    """Turn stored pixels into uint8 classes [H, W].

    pixels: [H, W] of ids, read through `table`; or [H, W, 3] RGB, where grey pixels
    throughout are ids and anything else must be the colours of `PALETTE`.
    Raises UserError naming `source_name` and the first value without a meaning.
    """
    if pixels.ndim == 3 and _is_grey(pixels):
        pixels = pixels[..., 0]
    if pixels.ndim == 3:
        return _map_colours(pixels, source_name)
    if pixels.dtype != np.uint8:
        if pixels.size and (pixels.min() < 0 or pixels.max() > 255):
            raise _unknown_value(source_name, int(pixels.max()))
        pixels = pixels.astype(np.uint8)
    labels = table[pixels]
    if labels.size and labels.min() == UNKNOWN:
        raise _unknown_value(source_name, int(pixels[labels == UNKNOWN][0]))
    return labels.astype(np.uint8)


def colour(labels: np.ndarray, palette: np.ndarray = PALETTE) -> np.ndarray:
    """Paint classes [H, W] in their colours, RGB uint8 [H, W, 3]; ignored is white.

    palette: uint8 [C, 3].
    """
    table = np.full((256, 3), 255, np.uint8)
    table[: len(palette)] = palette
    return table[labels]


def _is_grey(pixels: np.ndarray) -> bool:
    return bool((pixels == pixels[..., :1]).all())


def _map_colours(pixels: np.ndarray, source_name: str) -> np.ndarray:
    labels = np.full(pixels.shape[:2], IGNORE, np.uint8)
    for label, rgb in enumerate(PALETTE):
        labels[(pixels == rgb).all(axis=-1)] = label
    if (labels == IGNORE).any():
        found = tuple(int(value) for value in pixels[labels == IGNORE][0])
        raise UserError(
            f"{source_name}: colour {found} is no class; expected "
            + ", ".join(
                f"{name} {tuple(rgb)}"
                for name, rgb in zip(NAMES, PALETTE.tolist(), strict=True)
            )
            + "; convert the file to class ids"
        )
    return labels


def _unknown_value(source_name: str, value: int) -> UserError:
    return UserError(
        f"{source_name}: label value {value} has no class; expected the values that "
        f"label_ids maps (by default 0..{NUM_CLASSES - 1}); add it to label_ids"
    )
