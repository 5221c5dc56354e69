"""Random access to the frames and labels of one split of a prepared folder."""

import bisect
import copy
import os
from collections.abc import Callable, Sequence
from concurrent import futures
from pathlib import Path
from typing import TypeVar

import numpy as np

from jaxseg.data import augment, classes, dataset, index, reading, scaling
from jaxseg.data.opencv import cv2
from jaxseg.errors import UserError

T = TypeVar("T")


class FrameSource:
    """Read frames of one split, decoded and brought to one size.

    `videos` and `runs` say which record is which frame; a run is a longest stretch of
    consecutive frame numbers of one video, the only place where clips and pairs of
    frames may be taken. `labelled` are the records that have labels, in order; the
    label maps of the others are all to be ignored. `classes` are the names of the
    labels. Arrays returned are fresh and may be kept or changed. Safe to call from
    several threads.

    Faces are resized. Street frames that fit into the size keep their pixels and have a
    plain colour below and right of them; larger ones are resized.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        split: str,
        size: int | tuple[int, int],
        *,
        cache: bool = False,
        workers: int | None = None,
    ):
        """Open split `split` of `folder`, as `prepare.prepare` wrote it.

        split: its name, or that of the set it stands for: A for what N and F learn on,
        B for what they are chosen by; size: side in pixels, or (height, width); cache:
        keep every frame once decoded, 4 H W bytes each; workers: decoding threads (by
        default one per core, up to 8).
        Raises UserError for a folder that is not prepared and for an unknown split.
        """
        content = index.read(Path(folder))
        split = content.get("sets", {}).get(split, split)
        if split not in content["splits"]:
            known = ", ".join(content["splits"])
            raise UserError(
                f"{folder}: no split {split!r}; expected one of {known}; name one of "
                f"these or run `jaxseg dataset prepare` with a list {split}.txt"
            )
        self.split = split
        self.size = tuple(size) if isinstance(size, Sequence) else (size, size)
        self.videos = index.videos(content, split)
        self.runs = index.runs(self.videos)
        self.classes = tuple(content.get("classes", classes.NAMES))
        self.labelled = np.concatenate(
            [video.first + np.flatnonzero(video.labelled) for video in self.videos]
        )
        self._read = reading.reader(Path(folder), content, split)
        self._pads, self._colour = content.get("fit") == "pad", augment.GREY
        self._firsts = [video.first for video in self.videos]
        self._run_starts = [run.start for run in self.runs]
        self._records = dataset.open_split(Path(folder) / content["dataset"], split)
        self._length = sum(run.length for run in self.runs)
        if len(self._records) != self._length:
            raise UserError(
                f"{folder}: {len(self._records)} records of split {split}; expected "
                f"{self._length} by its index; remove the folder and prepare it again"
            )
        workers = workers or min(os.cpu_count() or 1, 8)
        self._pool = futures.ThreadPoolExecutor(workers, "decode")
        self._cache = _Cache(self._length, self.size) if cache else None

    def padded(self, colour: Sequence[int]) -> "FrameSource":
        """Return the same frames with another colour, RGB, about those that are padded.

        It decodes in the same threads.
        """
        if not self._pads or tuple(colour) == tuple(self._colour):
            return self
        other = copy.copy(self)
        other._colour = tuple(colour)
        if self._cache is not None:
            other._cache = _Cache(self._length, self.size)
        return other

    def __len__(self) -> int:
        """Return the number of frames of the split."""
        return self._length

    def frames(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return images uint8 [n, H, W, 3] RGB and labels uint8 [n, H, W]."""
        indices = self._checked(indices)
        if self._cache is None:
            return self._decode(indices)
        missing = self._cache.missing(indices)
        if missing.size:
            self._cache.put(missing, *self._decode(missing))
        return self._cache.get(indices)

    def images(self, indices: Sequence[int]) -> np.ndarray:
        """Return images alone, uint8 [n, H, W, 3] RGB."""
        return self.frames(indices)[0]

    def each(
        self,
        indices: Sequence[int],
        change: Callable[[int, np.ndarray, np.ndarray], T],
    ) -> list[T]:
        """Return what `change` makes of frames at their own size, in order.

        change: place in `indices`, image uint8 [H, W, 3] RGB, labels uint8 [H, W]; it
        runs in the decoding threads, and nothing is cached.
        """
        indices = self._checked(indices)

        def one(place, index, record):
            image, label = self._read(record, int(index))
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            if label is None:
                label = np.full(image.shape[:2], classes.IGNORE, np.uint8)
            return change(place, image, label)

        jobs = zip(range(len(indices)), indices, self._fetch(indices), strict=True)
        return list(self._pool.map(lambda job: one(*job), jobs))

    def clip(self, start: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return images and labels of `length` consecutive frames from record `start`.

        Raises IndexError where they would cross the end of a run.
        """
        run = self.runs[self.run_of(start)]
        if start + length > run.start + run.length:
            raise IndexError(
                f"clip {start}..{start + length - 1} of split {self.split} crosses the "
                f"end of its run at {run.start + run.length - 1}"
            )
        return self.frames(np.arange(start, start + length))

    def locate(self, record: int) -> tuple[str, int]:
        """Return name of the video and number of the frame, from 1, of a record."""
        self._check(record)
        video = self.videos[bisect.bisect_right(self._firsts, record) - 1]
        return video.name, int(video.numbers[record - video.first])

    def run_of(self, record: int) -> int:
        """Return the place in `runs` of the run that holds a record."""
        self._check(record)
        return bisect.bisect_right(self._run_starts, record) - 1

    def _check(self, record: int) -> None:
        if not 0 <= record < self._length:
            raise IndexError(
                f"frame {record} of split {self.split}, which has {self._length} frames"
            )

    def _checked(self, indices: Sequence[int]) -> np.ndarray:
        indices = np.asarray(indices, np.int64).reshape(-1)
        if indices.size and (indices.min() < 0 or indices.max() >= self._length):
            raise IndexError(
                f"frame {indices.min()}..{indices.max()} of split {self.split}, which "
                f"has {self._length} frames"
            )
        return indices

    def _fetch(self, indices: np.ndarray) -> Sequence[dict]:
        if not len(indices):
            return []
        return self._records.__getitems__([int(i) for i in indices])

    def _decode(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = np.empty((len(indices), *self.size, 3), np.uint8)
        labels = np.empty((len(indices), *self.size), np.uint8)
        jobs = zip(indices, self._fetch(indices), images, labels, strict=True)
        list(self._pool.map(lambda job: self._decode_into(*job), jobs))
        return images, labels

    def _decode_into(
        self, index: int, record: dict, image: np.ndarray, label: np.ndarray
    ) -> None:
        pixels, stored = self._read(record, int(index))
        if self._pads and all(a <= b for a, b in zip(pixels.shape, self.size)):
            pixels = scaling.pad(pixels, self.size, self._colour[::-1])
            if stored is not None:
                stored = scaling.pad(stored, self.size, classes.IGNORE)
        pixels = scaling.resize_image(pixels, self.size)
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=image)
        if stored is None:
            label[:] = classes.IGNORE
        else:
            label[:] = scaling.resize_labels(stored, self.size)


class _Cache:
    """Keep decoded frames; memory is touched only where a frame was put."""

    def __init__(self, length: int, size: tuple[int, int]):
        self._images = np.empty((length, *size, 3), np.uint8)
        self._labels = np.empty((length, *size), np.uint8)
        self._ready = np.zeros(length, bool)

    def missing(self, indices: np.ndarray) -> np.ndarray:
        return np.unique(indices[~self._ready[indices]])

    def put(self, indices: np.ndarray, images: np.ndarray, labels: np.ndarray) -> None:
        self._images[indices] = images
        self._labels[indices] = labels
        self._ready[indices] = True

    def get(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._images[indices], self._labels[indices]
