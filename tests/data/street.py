"""Small street scenes in the layout of Cityscapes' archives."""

from pathlib import Path

import cv2
import numpy as np

from jaxseg.data import cityscapes

SIZE = (64, 128)  # height, width of every frame

_ROAD, _SKY, _CAR, _EGO, _PARKING = 7, 23, 26, 1, 9


def label_ids(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return stored ids [H, W]: sky over road, and a car that drives to the right."""
    height, width = size
    ids = np.full(size, _ROAD, np.uint8)
    ids[: height // 2] = _SKY
    left = 3 * number % (width - 20)
    ids[height // 2 - 8 : height // 2 + 8, left : left + 20] = _CAR
    ids[-6:] = _EGO
    ids[-10:-6, :30] = _PARKING
    return ids


def frame(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a frame RGB [H, W, 3]: its classes in their colours, what is none grey."""
    colours = np.full((256, 3), 200, np.uint8)
    for stored, label in enumerate(cityscapes.lookup()):
        if 0 <= label < 19:
            colours[stored] = cityscapes.PALETTE[label]
    return colours[label_ids(number, size)]


def write(
    root: Path,
    places: dict[str, list[str]],
    *,
    snippets: bool = True,
    singles: bool = True,
    size: tuple[int, int] = SIZE,
) -> Path:
    """Write annotated frames {split: [CITY_SSSSSS_FFFFFF]} and what lies about them.

    snippets: leftImg8bit_sequence is there; singles: leftImg8bit is.
    """
    for split, names in places.items():
        for name in names:
            sequence, number = name.rsplit("_", 1)
            number = int(number)
            write_png(path(root, "gtFine", split, name), label_ids(number, size))
            image = frame(number, size)
            if singles:
                write_png(path(root, "leftImg8bit", split, name), image)
            for n in range(number - 19, number + 11) if snippets else ():
                target = path(
                    root, "leftImg8bit_sequence", split, f"{sequence}_{n:06d}"
                )
                write_png(target, frame(n, size))
    return root


def path(root: Path, part: str, split: str, name: str) -> Path:
    """Return the file of a frame in one of the archives."""
    ending = "gtFine_labelIds" if part == "gtFine" else "leftImg8bit"
    return root / part / split / name.split("_")[0] / f"{name}_{ending}.png"


def write_png(target: Path, pixels: np.ndarray) -> None:
    """Write ids [H, W] or RGB [H, W, 3]."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    assert cv2.imwrite(str(target), pixels)
