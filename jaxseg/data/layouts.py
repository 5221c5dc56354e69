"""What a data folder holds: which videos and frames belong to which split.

Three layouts are known. `300vw` is the archive: NNN/vid.avi and NNN/annot/000001.pts,
with lists of video ids, one per line, in splits/A.txt and so on. `mask` is the
authors' 300VW-Mask release: images_orig/xxx_yyyyyy.jpg, labels_orig/xxx_yyyyyy.png and
data_splits/split_2/A.txt with lines "/images_orig/x.jpg /labels_orig/x.png".
`cityscapes` is the folder that its archives were unpacked into (see `snippets`); its
splits are its own folders, or lists with lines such as train/aachen.
"""

import collections
import re
from pathlib import Path
from typing import NamedTuple

from jaxseg.data import snippets
from jaxseg.errors import UserError

LAYOUTS = ("300vw", "mask", "cityscapes")

_SPLIT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_FRAME_NAME = re.compile(r"(.+)_(\d+)")
_EXPECTED = (
    "expected NNN/vid.avi with NNN/annot/000001.pts (the 300VW archive), "
    "images_orig, labels_orig and data_splits (the 300VW-Mask release), or gtFine and "
    "leftImg8bit (Cityscapes)"
)


class ArchiveVideo(NamedTuple):
    """Hold one video of the archive: the file, and landmark files by frame number."""

    name: str
    path: Path
    points: dict[int, Path]

    @property
    def num_frames(self) -> int:
        """Return the number of frames that the files promise."""
        return len(self.points)

    @property
    def files(self) -> list[Path]:
        """Return the files whose names and sizes identify the input."""
        return [self.path, *self.points.values()]


class MaskVideo(NamedTuple):
    """Hold the listed frames of one video of the release, by frame number."""

    name: str
    frames: dict[int, tuple[Path, Path]]  # image, label

    @property
    def num_frames(self) -> int:
        """Return the number of frames that the files promise."""
        return len(self.frames)

    @property
    def files(self) -> list[Path]:
        """Return the files whose names and sizes identify the input."""
        return [path for pair in self.frames.values() for path in pair]


Video = ArchiveVideo | MaskVideo | snippets.Snippet


class Plan(NamedTuple):
    """Hold what is to be prepared: the layout found and the videos of every split."""

    layout: str
    splits: dict[str, list[Video]]
    unlisted: list[str]  # what is in no list, splits without annotations


def plan(folder: Path, layout: str = "auto", splits: Path | None = None) -> Plan:
    """Return what a folder holds; `splits` is a folder of lists in place of its own.

    Raises UserError where the folder is neither layout, where lists are missing (they
    are never invented) and where a list names what is not there.
    """
    found = _detect(folder) if layout == "auto" else layout
    if found == "mask":
        return _plan_mask(folder, splits or folder / "data_splits" / "split_2")
    if found == "300vw":
        return _plan_archive(folder, splits or folder / "splits")
    if found == "cityscapes":
        return _plan_cityscapes(folder, splits)
    raise UserError(f"layout is {found!r}; expected auto, {' or '.join(LAYOUTS)}")


def _detect(folder: Path) -> str:
    found = _layout_of(folder)
    if found:
        return found
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {_EXPECTED}; give another folder")
    entries = sorted(folder.iterdir())
    for entry in entries:
        if entry.is_dir() and _layout_of(entry):
            raise UserError(
                f"{folder}: holds {_names(entries)}; the data is one level down: give "
                f"the folder {entry}"
            )
    raise UserError(
        f"{folder}: holds {_names(entries)}; {_EXPECTED}; give the folder that does"
    )


def _layout_of(folder: Path) -> str | None:
    if (folder / "images_orig").is_dir() and (folder / "labels_orig").is_dir():
        return "mask"
    if snippets.is_root(folder):
        return "cityscapes"
    if folder.is_dir() and any(
        (entry / "vid.avi").exists() or (entry / "annot").is_dir()
        for entry in folder.iterdir()
    ):
        return "300vw"
    return None


def _plan_archive(folder: Path, lists: Path) -> Plan:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {_EXPECTED}; give another folder")
    known = {entry.name for entry in folder.iterdir() if (entry / "annot").is_dir()}
    splits, seen = {}, {}
    for split, path in _lists(lists, "one video id per line, such as 001").items():
        splits[split] = []
        for line, name in _lines(path):
            if name not in known:
                videos = _names(sorted(folder / video for video in known))
                raise UserError(
                    f"{path}: line {line}: {name[:40]!r} is no video of {folder}, "
                    f"which has {videos}; correct the list"
                )
            if seen.setdefault(name, split) != split or any(
                video.name == name for video in splits[split]
            ):
                raise UserError(
                    f"{path}: line {line}: video {name} is listed already in "
                    f"{seen[name]}.txt; expected each video once; correct the lists"
                )
            splits[split].append(_archive_video(folder / name))
    return Plan("300vw", splits, sorted(known - set(seen)))


def _archive_video(folder: Path) -> ArchiveVideo:
    points = {}
    for path in sorted((folder / "annot").glob("*.pts")):
        if not (path.stem.isascii() and path.stem.isdigit()):
            continue
        number = int(path.stem)
        if number == 0:
            raise UserError(
                f"{path}: number 0; expected frames numbered from 1; rename the files"
            )
        if number in points:
            raise UserError(
                f"{path}: has the number of {points[number].name}; expected one file a "
                "frame; remove one of them"
            )
        points[number] = path
    return ArchiveVideo(folder.name, folder / "vid.avi", dict(sorted(points.items())))


def _plan_mask(folder: Path, lists: Path) -> Plan:
    example = "lines such as /images_orig/001_000001.jpg /labels_orig/001_000001.png"
    splits = {}
    for split, path in _lists(lists, example).items():
        videos = collections.defaultdict(dict)
        for line, text in _lines(path):
            parts = text.split()
            match = _FRAME_NAME.fullmatch(Path(parts[0]).stem)
            paired = len(parts) == 2 and Path(parts[1]).stem == Path(parts[0]).stem
            if not paired or match is None:
                raise UserError(
                    f"{path}: line {line}: {text[:80]!r}; expected {example}; correct "
                    "the list"
                )
            pair = tuple(_inside(folder, part, path, line) for part in parts)
            before = videos[match[1]].setdefault(int(match[2]), pair)
            if before != pair:
                raise UserError(
                    f"{path}: line {line}: {text[:80]!r} has the number of "
                    f"{before[0].name}; expected one pair a frame; remove one of them"
                )
        splits[split] = [
            MaskVideo(name, dict(sorted(videos[name].items())))
            for name in sorted(videos)
        ]
    return Plan("mask", splits, [])


def _plan_cityscapes(folder: Path, lists: Path | None) -> Plan:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {_EXPECTED}; give another folder")
    found, bare = snippets.plan(folder)
    if lists is None:
        return Plan("cityscapes", found, bare)
    groups = snippets.groups(found)
    example = "lines such as train/aachen or train/aachen_000000_000019"
    splits, taken = {}, {}
    for split, path in _lists(lists, example).items():
        splits[split] = []
        for line, name in _lines(path):
            if name not in groups:
                raise UserError(
                    f"{path}: line {line}: {name[:80]!r} is no city and no annotated "
                    f"frame of {folder}; expected {example}; correct the list"
                )
            for snippet in groups[name]:
                if snippet in taken:
                    raise UserError(
                        f"{path}: line {line}: {snippet.name} is listed already in "
                        f"{taken[snippet]}.txt; expected each frame once; correct the "
                        "lists"
                    )
                taken[snippet] = split
            splits[split] += groups[name]
    left = collections.Counter(
        f"{snippet.split}/{snippet.city}"
        for videos in found.values()
        for snippet in videos
        if snippet not in taken
    )
    return Plan("cityscapes", splits, [*bare, *map(_counted, left.items())])


def _counted(place_and_count: tuple[str, int]) -> str:
    place, count = place_and_count
    return f"{place} ({count})"


def _inside(folder: Path, part: str, listing: Path, line: int) -> Path:
    path = folder / part.lstrip("/")
    if ".." in path.parts:
        raise UserError(
            f"{listing}: line {line}: {part[:80]!r} leads out of {folder}; expected a "
            "path in it; correct the list"
        )
    return path


def _lists(folder: Path, content: str) -> dict[str, Path]:
    paths = sorted(folder.glob("*.txt")) if folder.is_dir() else []
    if not paths:
        raise UserError(
            f"{folder}: no lists of the splits; expected A.txt, B.txt and C.txt there, "
            f"{content}; write them or name the folder that has them (--splits)"
        )
    for path in paths:
        if not _SPLIT_NAME.fullmatch(path.stem) or path.stem.lower() == "all":
            raise UserError(
                f"{path}: {path.stem!r} cannot name a split; expected a letter, then "
                "letters, digits or _, and not 'all'; rename the list"
            )
    return {path.stem: path for path in paths}


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}; expected a text list; replace it") from error
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise UserError(f"{path}: an empty list; expected entries; fill or remove it")
    return lines


def _names(entries: list[Path]) -> str:
    shown = ", ".join(path.name for path in entries[:8])
    more = f" and {len(entries) - 8} more" if len(entries) > 8 else ""
    return shown + more if entries else "nothing"
