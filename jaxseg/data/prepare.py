"""Prepare a data set: read the user's folder once, write records ready for training."""

import contextlib
import functools
import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from jaxseg.data import (
    book,
    cityscapes,
    classes,
    crop,
    dataset,
    index,
    journal,
    layouts,
    reading,
    records,
    references,
    vw300,
)
from jaxseg.errors import UserError
from jaxseg.runtime import files

REPORT = "report.json"

# What the index of such a set says beside its frames; see `source.FrameSource`.
_CITYSCAPES = {"classes": list(cityscapes.NAMES), "pixels": "files", "fit": "pad"}
_SETS = {"A": "train", "B": "val"}  # where no lists say what they are


class Report(NamedTuple):
    """Hold what preparing did; the same numbers are in the folder's report.json."""

    frames: dict[str, int]  # per split
    videos: dict[str, int]
    skipped: list[records.Skipped]
    unlisted: list[str]  # videos in no list
    seconds: float
    reused: bool  # the folder was there already, from the same inputs and settings


def prepare(
    folder: str | os.PathLike,
    out: str | os.PathLike,
    *,
    layout: str = "auto",
    crop: str = "per_frame",
    splits: str | os.PathLike | None = None,
    label_ids: dict[int, int] | None = None,
    on_damage: str = "error",
    image_size: int | None = None,
    image_format: str = "jpeg",
    jpeg_quality: int = 95,
    verify: str = "whole",
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Write the frames of `folder` as records below `out`, with index and report.

    layout: "auto", "300vw", "mask" or "cityscapes" (see `layouts`); splits: folder of
    lists in place of the data's own; crop: "per_frame", "smoothed" or "fixed" (300vw
    only);
    label_ids: stored value to class (mask only); on_damage: "error", or "skip", which
    leaves out what is damaged and names it in the report; image_size: crops are shrunk
    to at most so many pixels a side; verify: "whole" reads every image of Cityscapes
    and compares its checksums, "ends" reads its first and last bytes; workers: videos
    converted at the same time;
    progress: called with frames done and frames in all after each video.
    The frames of Cityscapes stay where they are, and records refer to them; where they
    were moved, preparing from their new place into the same `out` finds them again. An
    interrupted check of them goes on where it was.
    The same inputs and settings again return at once; inputs are known by their names
    and sizes. Raises UserError for bad input,
    and where `out` holds anything else; nothing is ever overwritten.
    """
    settings = records.Settings(
        crop, label_ids, on_damage, image_size, image_format, jpeg_quality, verify
    )
    plan = layouts.plan(Path(folder), layout, None if splits is None else Path(splits))
    _check(settings, plan.layout)
    identity = _identity(settings, plan, Path(folder))
    out = Path(out).resolve()  # "." has no name to put a lock beside
    with files.writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    busy = (
        f"{out}: another run is preparing it; expected none; wait for it or give "
        "another folder"
    )
    with files.locked(out.with_name(f".{out.name}.lock"), busy):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            report = _reuse(out, identity)
            if plan.layout == "cityscapes":
                reading.note_root(out, Path(folder))
            return report
        kept = journal.Journal(out.with_name(f".{out.name}.checked"))
        with _partial_folder(out) as partial:
            if plan.layout == "cityscapes":
                reading.note_root(partial, Path(folder))
            convert = _converter(plan, settings, kept)
            report = _write(
                partial, plan, settings, identity, convert, workers, progress
            )
            if out.exists():
                out.rmdir()
            partial.rename(out)
        kept.remove()
    return report


def _check(settings: records.Settings, layout: str) -> None:
    if layout == "cityscapes":
        _check_untouched(settings)
    allowed = {
        "crop": crop.MODES if layout == "300vw" else ("per_frame",),
        "on_damage": ("error", "skip"),
        "image_format": ("jpeg", "png"),
        "jpeg_quality": range(1, 101),
        "verify": ("whole", "ends") if layout == "cityscapes" else ("whole",),
    }
    for name, values in allowed.items():
        found = getattr(settings, name)
        if found not in values:
            expected = "1..100" if isinstance(values, range) else " or ".join(values)
            reason = " (frames of this layout are cropped)" if name == "crop" else ""
            raise UserError(
                f"{name} is {found!r}; expected {expected} for layout {layout}"
                f"{reason if layout == 'mask' else ''}; change {name}"
            )
    if settings.image_size is not None and settings.image_size < 1:
        raise UserError(
            f"image_size is {settings.image_size}; expected 1 or more pixels; change it"
        )
    classes.lookup(settings.label_ids)


def _check_untouched(settings: records.Settings) -> None:
    defaults = records.Settings()
    for name in ("crop", "label_ids", "image_size", "image_format", "jpeg_quality"):
        found, expected = getattr(settings, name), getattr(defaults, name)
        if found != expected:
            raise UserError(
                f"{name} is {found!r}; expected {expected!r}, as the frames of layout "
                f"cityscapes stay what they are; leave {name} out"
            )


def _identity(settings: records.Settings, plan: layouts.Plan, folder: Path) -> dict:
    described = settings._asdict() | {"layout": plan.layout}
    if plan.layout == "cityscapes":
        described = {
            name: described[name] for name in ("layout", "on_damage", "verify")
        }
    else:
        del described["verify"]
        meaning = settings.label_ids or classes.IDENTITY
        described["label_ids"] = sorted(meaning.items())
    digest = hashlib.sha256()
    for split, videos in plan.splits.items():
        digest.update(f"split {split}\n".encode())
        for path in itertools.chain.from_iterable(video.files for video in videos):
            size = path.stat().st_size if path.exists() else -1
            digest.update(f"{path.relative_to(folder)} {size}\n".encode())
    # Through JSON and back, so that it equals what an index gives.
    return json.loads(json.dumps(described | {"inputs": digest.hexdigest()}))


def _reuse(out: Path, identity: dict) -> Report:
    if not out.is_dir() or not (out / index.FILE).is_file():
        raise UserError(
            f"{out}: holds something that is no prepared set; expected a new or empty "
            "folder; give another one"
        )
    before = index.read(out)["identity"]
    changed = [name for name in identity if before.get(name) != identity[name]]
    if changed:
        values = ", ".join(
            "other input files"
            if name == "inputs"
            else f"{name} {before.get(name)} and not {identity[name]}"
            for name in changed
        )
        raise UserError(
            f"{out}: was prepared with {values}; expected the same; give another "
            "folder or remove this one"
        )
    content = json.loads((out / REPORT).read_text())
    content["skipped"] = [records.Skipped(**entry) for entry in content["skipped"]]
    return Report(**content, reused=True)


@contextlib.contextmanager
def _partial_folder(out: Path) -> Iterator[Path]:
    # The name is fixed, so that what a killed run left behind is cleared by the next.
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _converter(
    plan: layouts.Plan, settings: records.Settings, kept: journal.Journal
) -> Callable[[layouts.Video], records.Converted]:
    checks = None
    if plan.layout == "cityscapes":
        videos = itertools.chain.from_iterable(plan.splits.values())
        size = references.common_size(videos)
        checks = references.Checks(size, settings.verify == "whole", kept)
    return functools.partial(records.convert, settings=settings, checks=checks)


def _write(
    partial: Path,
    plan: layouts.Plan,
    settings: records.Settings,
    identity: dict,
    convert: Callable[[layouts.Video], records.Converted],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Report:
    started = time.monotonic()
    videos = list(itertools.chain.from_iterable(plan.splits.values()))
    with contextlib.closing(book.convert_in_order(videos, convert, workers)) as stream:
        written = book.Book(stream, sum(v.num_frames for v in videos), progress)
        builder = _builder(partial, plan, settings, written)
        name = dataset.write(builder, partial)
    shutil.rmtree(partial / "downloads", ignore_errors=True)
    for split in plan.splits:
        if not written.frames[split]:
            raise UserError(
                f"split {split} has no frame left: {len(written.skipped)} things were "
                f"left out, the first {written.skipped[0].why}"
            )
    report = Report(
        frames=dict(written.frames),
        videos={split: len(found) for split, found in written.videos.items()},
        skipped=written.skipped,
        unlisted=plan.unlisted,
        seconds=round(time.monotonic() - started, 3),
        reused=False,
    )
    content = report._asdict() | {"skipped": [s._asdict() for s in report.skipped]}
    del content["reused"]
    (partial / REPORT).write_text(json.dumps(content, indent=1))
    index.write(partial, name, written.videos, identity, _more(plan))
    return report


def _more(plan: layouts.Plan) -> dict:
    if plan.layout != "cityscapes":
        return {}
    sets = {a: split for a, split in _SETS.items() if split in plan.splits}
    return _CITYSCAPES | ({"sets": sets} if sets else {})


def _builder(
    partial: Path, plan: layouts.Plan, settings: records.Settings, written: book.Book
) -> dataset.OrderedBuilder:
    options = {"data_dir": str(partial), "shards": written.shards(plan.splits)}
    if plan.layout == "cityscapes":
        return cityscapes.CityscapesSnippets(**options)
    return vw300.Vw300(image_format=settings.image_format, **options)
