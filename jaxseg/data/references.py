"""From the files of a snippet to records that refer to them, once they are checked."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxseg.data import cityscapes, classes, journal, png, snippets
from jaxseg.data.opencv import cv2
from jaxseg.errors import UserError

_REMEDY = "restore the file or leave its snippet out (on_damage='skip')"


class Checks(NamedTuple):
    """Hold how files are checked."""

    size: tuple[int, int]  # height, width that every file must have
    whole: bool  # whole images are read, or their ends
    known: journal.Journal  # what an earlier run has found good


def common_size(videos: list[snippets.Snippet]) -> tuple[int, int]:
    """Return the height and width that most label maps have by their headers.

    Raises UserError where none of them has one.
    """
    counts, problem = {}, None
    for video in videos:
        try:
            header = png.check(video.label, whole=False)
        except UserError as error:
            problem = problem or error
            continue
        size = header.height, header.width
        counts[size] = counts.get(size, 0) + 1
    if not counts:
        raise problem
    return max(counts, key=counts.get)


def examples(snippet: snippets.Snippet, checks: Checks) -> list[dict]:
    """Return the records of a snippet in frame order.

    Raises UserError naming the first file that is missing, damaged, of another size or
    kind, or has a value that is no label id.
    """
    _check_numbers(snippet)
    key = journal.key(snippet.root, snippet.files, [*checks.size, checks.whole])
    labelled = checks.known.get(key)
    if labelled is None:
        labelled = _check_label(snippet, checks)
        for number in snippet.numbers:
            _check_header(snippet.image(number), png.RGB, checks)
        checks.known.add(key, labelled)
    return [
        {
            "image": _relative(snippet, snippet.image(number)),
            "label": (
                _relative(snippet, snippet.label)
                if labelled and number == snippet.number
                else ""
            ),
            "video": snippet.name,
            "frame": number,
        }
        for number in snippet.numbers
    ]


def _check_numbers(snippet: snippets.Snippet) -> None:
    if snippet.numbers[0] < 0:
        raise UserError(
            f"{snippet.label}: frame {snippet.number}; expected {snippets.BEFORE} or "
            f"more, as its snippet has {snippets.BEFORE} frames before it; rename the "
            "file or leave its snippet out (on_damage='skip')"
        )
    missing = [n for n in snippet.numbers if not snippet.image(n).is_file()]
    if missing and snippet.is_clip:
        last = snippet.numbers[-1]
        raise UserError(
            f"{snippet.image(missing[0])}: no such file; the snippet of {snippet.name} "
            f"lacks {len(missing)} of its {snippets.FRAMES} frames; expected "
            f"{snippet.numbers[0]:06d} to {last:06d}; {_REMEDY}"
        )


def _check_label(snippet: snippets.Snippet, checks: Checks) -> bool:
    """Check the label map; say whether it has any pixel of a class."""
    _check_header(snippet.label, png.GREY, checks)
    pixels = cv2.imread(str(snippet.label), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape != checks.size:
        raise UserError(
            f"{snippet.label}: does not decode; expected a label map; {_REMEDY}"
        )
    counts = np.bincount(pixels.ravel(), minlength=256)
    table = cityscapes.lookup()
    unknown = np.flatnonzero((counts > 0) & (table == classes.UNKNOWN))
    if unknown.size:
        raise UserError(
            f"{snippet.label}: value {unknown[0]} is no label id; expected 0 to "
            f"{cityscapes.NUM_LABELS - 1}; {_REMEDY}"
        )
    return bool(counts[table != classes.IGNORE].sum())


def _check_header(path: Path, colour: int, checks: Checks) -> None:
    # A map is decoded anyway, and small.
    header = png.check(path, checks.whole or colour == png.GREY, _REMEDY)
    height, width = checks.size
    if (header.height, header.width) != checks.size:
        raise UserError(
            f"{path}: {header.width}x{header.height} pixels; expected {width}x{height} "
            f"as most label maps have; {_REMEDY}"
        )
    if (header.bits, header.colour) != (8, colour):
        kind = {png.GREY: "grey", png.RGB: "RGB"}[colour]
        raise UserError(
            f"{path}: PNG of {header.bits} bits and colour type {header.colour}; "
            f"expected 8 bits, {kind}; {_REMEDY}"
        )


def _relative(snippet: snippets.Snippet, path: Path) -> str:
    return path.relative_to(snippet.root).as_posix()
