"""From the videos of a plan to shards of records, noting which frame went where."""

import collections
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures

import numpy as np

from jaxseg.data import dataset, index, layouts, records

_SHARD_FRAMES = 4096

_Videos = list[layouts.Video]


class Book:
    """Pass records on to the writer, and note which frame became which record."""

    def __init__(
        self,
        stream: Iterator[records.Converted],
        total: int,
        progress: Callable[[int, int], None] | None,
    ):
        """Take videos converted in the order of the plan, and the frames promised."""
        self.frames = collections.Counter()
        self.videos = collections.defaultdict(list)
        self.skipped = []
        self._stream = stream
        self._done, self._total = 0, total
        self._progress = progress

    def shards(self, splits: Mapping[str, _Videos]) -> dict[str, list[dataset.Shard]]:
        """Return the shards of every split; they must be written in this order."""
        return {
            split: [
                functools.partial(self._records, split, len(group))
                for group in _shards(videos)
            ]
            for split, videos in splits.items()
        }

    def _records(self, split: str, num_videos: int) -> Iterator[tuple[int, dict]]:
        for video in itertools.islice(self._stream, num_videos):
            self.skipped.extend(video.skipped)
            first = self.frames[split]
            if video.examples:
                numbers = np.array([example["frame"] for example in video.examples])
                labelled = np.array([bool(e["label"]) for e in video.examples])
                noted = index.Video(video.name, first, numbers, labelled)
                self.videos[split].append(noted)
            for example in video.examples:
                yield self.frames[split], example
                self.frames[split] += 1
            self._done += video.num_planned
            if self._progress:
                self._progress(self._done, self._total)


def convert_in_order(
    videos: _Videos,
    convert: Callable[[layouts.Video], records.Converted],
    workers: int,
) -> Iterator[records.Converted]:
    """Yield what `convert` makes of every video in order, `workers` at a time.

    Threads do, because decoding, scaling and encoding run outside the interpreter lock.
    """
    todo, pending = iter(videos), collections.deque()
    pool = futures.ThreadPoolExecutor(max(workers, 1))
    try:
        for video in itertools.islice(todo, max(workers, 1) + 1):
            pending.append(pool.submit(convert, video))
        while pending:
            converted = pending.popleft().result()
            for video in itertools.islice(todo, 1):
                pending.append(pool.submit(convert, video))
            yield converted
    finally:
        pool.shutdown(cancel_futures=True)


def _shards(
    videos: _Videos,
) -> list[_Videos]:
    groups, frames = [[]], 0
    for video in videos:
        if groups[-1] and frames + video.num_frames > _SHARD_FRAMES:
            groups.append([])
            frames = 0
        groups[-1].append(video)
        frames += video.num_frames
    return groups
