"""The index of a prepared folder: which record is which frame of which video."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxseg.errors import UserError
from jaxseg.runtime import files

FILE = "index.json"

_FORMAT = 1


class Video(NamedTuple):
    """Hold one video of a split: its first record, and the number of every frame."""

    name: str
    first: int
    numbers: np.ndarray  # [frames] int32, increasing
    labelled: np.ndarray  # [frames] bool


class Run(NamedTuple):
    """Hold a longest stretch of consecutive frame numbers: records start, start+1.."""

    video: int  # place in the split's videos
    start: int
    length: int


def write(
    folder: Path,
    dataset: str,
    splits: dict[str, list[Video]],
    identity: dict,
    more: dict,
) -> None:
    """Write the index of `folder`; whoever finds it takes the folder for complete.

    more: what else there is to know of the set, see `source.FrameSource`.
    """
    content = {
        **more,
        "format": _FORMAT,
        "dataset": dataset,
        "identity": identity,
        "splits": {
            split: [_entry(video) for video in videos]
            for split, videos in splits.items()
        },
    }
    files.write_atomically(folder / FILE, json.dumps(content))


def read(folder: Path) -> dict:
    """Return the content of a folder's index.

    Raises UserError where the folder is missing, not prepared or of another format.
    """
    remedy = f"run `jaxseg dataset prepare FOLDER {folder}` first"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected a prepared set; {remedy}")
    if not (folder / FILE).is_file():
        raise UserError(
            f"{folder}: no {FILE} in it; expected a prepared set; {remedy}, or give "
            "the folder that it wrote"
        )
    try:
        content = json.loads((folder / FILE).read_bytes())
        if not isinstance(content, dict):
            raise ValueError(f"holds a {type(content).__name__}")
    except ValueError as error:
        raise UserError(
            f"{folder / FILE}: {error}; expected what preparing wrote; {remedy}"
        ) from error
    if content.get("format") != _FORMAT:
        raise UserError(
            f"{folder / FILE}: format {content.get('format')}; expected {_FORMAT}; "
            f"remove the folder and prepare it again"
        )
    return content


def videos(content: dict, split: str) -> tuple[Video, ...]:
    """Return the videos of a split of an index in record order."""
    return tuple(_video(entry) for entry in content["splits"][split])


def runs(videos_of_split: tuple[Video, ...]) -> tuple[Run, ...]:
    """Return the stretches of consecutive frame numbers in record order."""
    found = []
    for place, video in enumerate(videos_of_split):
        start = video.first
        for low, high in _ranges(video.numbers):
            found.append(Run(place, start, high - low + 1))
            start += high - low + 1
    return tuple(found)


def _entry(video: Video) -> dict:
    entry = {
        "name": video.name,
        "first": video.first,
        "ranges": _ranges(video.numbers),
    }
    if not video.labelled.all():
        entry["labelled"] = [int(n) for n in video.numbers[video.labelled]]
    return entry


def _video(entry: dict) -> Video:
    ranges = [np.arange(a, b + 1, dtype=np.int32) for a, b in entry["ranges"]]
    numbers = np.concatenate(ranges)
    labelled = np.isin(numbers, entry.get("labelled", numbers))
    return Video(entry["name"], entry["first"], numbers, labelled)


def _ranges(numbers: np.ndarray) -> list[list[int]]:
    numbers = np.asarray(numbers)
    stretches = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return [[int(stretch[0]), int(stretch[-1])] for stretch in stretches]
