"""Which frames belong to which annotation of Cityscapes, by their names.

gtFine/SPLIT/CITY/CITY_SSSSSS_FFFFFF_gtFine_labelIds.png is the label map of frame F of
sequence S. Its snippet are the frames N from F - 19 to F + 10, which are files named
CITY_SSSSSS_NNNNNN_leftImg8bit.png in leftImg8bit_sequence/SPLIT/CITY; without those, it
is the one frame in leftImg8bit/SPLIT/CITY. In most cities F is 19; in those with few
and long sequences (Hamburg, Frankfurt) it runs on, so nothing may rest on the number.
"""

import collections
import re
from pathlib import Path
from typing import NamedTuple

from jaxseg.data import cityscapes
from jaxseg.errors import UserError

FRAMES = 30  # of a snippet
BEFORE = 19  # the annotated frame is the 20th
PARTS = ("gtFine", "leftImg8bit", "leftImg8bit_sequence")

_NAME = re.compile(r"(.+_\d{6})_(\d{6})")
_LABEL_ENDING = "_gtFine_labelIds.png"
_IMAGE_ENDING = "_leftImg8bit.png"


class Snippet(NamedTuple):
    """Hold one annotated frame and the frames about it."""

    root: Path
    split: str
    city: str
    sequence: str  # CITY_SSSSSS
    number: int  # of the annotated frame
    is_clip: bool  # all 30 frames, or the annotated one alone

    @property
    def name(self) -> str:
        """Return the name of the annotated frame, CITY_SSSSSS_FFFFFF."""
        return self.frame_name(self.number)

    @property
    def numbers(self) -> range:
        """Return the numbers of the frames, the first of which may be below 0."""
        if not self.is_clip:
            return range(self.number, self.number + 1)
        first = self.number - BEFORE
        return range(first, first + FRAMES)

    @property
    def num_frames(self) -> int:
        """Return the number of frames that the names promise."""
        return len(self.numbers)

    @property
    def label(self) -> Path:
        """Return the file of the label map."""
        return self._path("gtFine", self.name + _LABEL_ENDING)

    @property
    def files(self) -> list[Path]:
        """Return the files whose names and sizes identify the input."""
        return [self.label, *(self.image(n) for n in self.numbers if n >= 0)]

    def image(self, number: int) -> Path:
        """Return the file of a frame."""
        part = "leftImg8bit_sequence" if self.is_clip else "leftImg8bit"
        return self._path(part, self.frame_name(number) + _IMAGE_ENDING)

    def frame_name(self, number: int) -> str:
        """Return CITY_SSSSSS_NNNNNN of a frame."""
        return f"{self.sequence}_{number:06d}"

    def _path(self, part: str, file: str) -> Path:
        return self.root / part / self.split / self.city / file


def is_root(folder: Path) -> bool:
    """Say whether a folder is one that archives of Cityscapes were unpacked into."""
    return any((folder / part).is_dir() for part in PARTS)


def plan(folder: Path) -> tuple[dict[str, list[Snippet]], list[str]]:
    """Return the snippets of every split, by name, and the splits without annotations.

    Where a split has both kinds of frames, the sequences are read. Raises UserError
    where an archive is missing.
    """
    splits, bare = {}, []
    for split in cityscapes.SPLITS:
        has = {part: (folder / part / split).is_dir() for part in PARTS}
        if has["gtFine"] and (has["leftImg8bit"] or has["leftImg8bit_sequence"]):
            found = _snippets(folder, split, has["leftImg8bit_sequence"])
            splits |= {split: found} if found else {}
        elif has["gtFine"]:
            raise UserError(
                f"{folder}: gtFine/{split} has annotations, but there is no "
                f"leftImg8bit/{split} and no leftImg8bit_sequence/{split}; expected "
                "the frames too; unpack leftImg8bit_trainvaltest.zip (annotated "
                "frames) or leftImg8bit_sequence_trainvaltest.zip (their snippets), or "
                f"move gtFine/{split} away"
            )
        elif any(has.values()):
            bare.append(split)
    if not splits:
        raise UserError(
            f"{folder}: no annotations; expected gtFine/train/CITY/CITY_SSSSSS_FFFFFF"
            f"{_LABEL_ENDING}; unpack gtFine_trainvaltest.zip there"
        )
    return splits, bare


def groups(splits: dict[str, list[Snippet]]) -> dict[str, list[Snippet]]:
    """Return the snippets by what a list may call them: SPLIT/CITY or SPLIT/NAME."""
    found = collections.defaultdict(list)
    for videos in splits.values():
        for snippet in videos:
            for name in (snippet.city, snippet.name):
                found[f"{snippet.split}/{name}"].append(snippet)
    return dict(found)


def _snippets(folder: Path, split: str, is_clip: bool) -> list[Snippet]:
    """Return a snippet for every label map, and for every image that should have one.

    What lacks its partner is found out when the files are checked.
    """
    named = set()
    for part, ending in (("gtFine", _LABEL_ENDING), ("leftImg8bit", _IMAGE_ENDING)):
        for path in (folder / part / split).glob(f"*/*{ending}"):
            match = _NAME.fullmatch(path.name.removesuffix(ending))
            if match is None:
                raise UserError(
                    f"{path}: no name of Cityscapes; expected CITY_SSSSSS_FFFFFF"
                    f"{ending} with six digits each; rename the file or move it away"
                )
            named.add((path.parent.name, match[1], int(match[2])))
    return [Snippet(folder, split, *place, is_clip) for place in sorted(named)]
