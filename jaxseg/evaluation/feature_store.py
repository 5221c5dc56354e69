"""What N makes of every frame of a split, computed once and kept on disk.

All policies on one N share it, as do their pair tables and evaluations. T frames, h x w
features, C classes.
"""

import bisect
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build, dynamic, model_file
from jaxseg.data import index, source
from jaxseg.errors import UserError
from jaxseg.evaluation import tables
from jaxseg.ops import iou, stored
from jaxseg.ops import precision as precisions
from jaxseg.runtime import files, prefetch, shards

_BATCH = 16  # frames that go through N together, as in `dynamic.prepare`
_SHARD_FRAMES = 256
_SHARD_BYTES = 64 * 2**20  # of a shard in float32
_WAIT_SECONDS = 0.2


class Shard(NamedTuple):
    """Consecutive frames of one run whose features are one file."""

    start: int  # record
    length: int


class Store:
    """Features and key scores of the frames of one split by one N, in shards.

    Shards lie in FOLDER/KEY-FORMAT/SPLIT, where the key depends on the data and on the
    settings and weights of N. Each is features.npy in the format and scores.npy with
    U_a1 for every reading of `iou.CLASS_SETS`, which comes from unrounded features.
    Several processes may use and fill one store at the same time.
    """

    def __init__(
        self,
        folder: Path,
        model: model_file.Model,
        frames: source.FrameSource,
        format: str,
        data: str,
        precision: str = "float32",
    ):
        """Open the store below `folder`; nothing is read or written yet.

        Args:
          model: settings and variables of N; others do not matter.
          format: name of `stored.DTYPES`.
          data: any text that identifies the prepared frames.
          precision: that N is computed in, see `build`.

        Raises:
          UserError: the format cannot hold what this N gives.
        """
        check_format(format, model.settings)
        # A new reading of the scores makes another store.
        text = f"{data}{iou.CLASS_SETS}{precisions.resolve(precision)}"
        key = tables.digest(model, text, parts=["segmenter"])
        self.folder = folder / f"{key}-{format}" / frames.split
        self.format = format
        self._model, self._frames, self._precision = model, frames, precision
        self._shape = _feature_shape(model)
        self._shards = _cut(frames.runs, 4 * int(np.prod(self._shape)))
        self._starts = [shard.start for shard in self._shards]
        self._sound: set[Shard] = set()  # read once as a whole

    def clip(
        self,
        start: int,
        length: int,
        scoring: build.Scoring = build.DEFAULT_SCORING,
    ) -> dynamic.Clip:
        """Return a clip with features in the store's format, and key scores.

        Where targets are pseudo labels, which come from the features, it has neither
        labels nor scores.

        Raises:
          IndexError: it would cross the end of a run.
          UserError: a shard is damaged, or cannot be written where it is missing.
        """
        images, labels = self._frames.clip(start, length)
        parts = [self._part(*cut) for cut in self._cuts(start, length)]
        features, scores = (np.concatenate(arrays) for arrays in zip(*parts))
        if scoring.pseudo_labels:
            return dynamic.Clip(images, None, features, None)
        column = iou.CLASS_SETS.index(scoring.classes)
        return dynamic.Clip(images, labels, features, scores[:, column].copy())

    def fill(self, progress: Callable[[int], None] | None = None) -> None:
        """Compute every shard that is missing; skip what other processes work on.

        Args:
          progress: called with numbers of finished frames, also of those found.

        Raises:
          UserError: there is no room for it, or the system refuses.
        """
        self._check_room()
        left, failed = deque(self._shards), 0
        while left:
            shard = left.popleft()
            if self._is_there(shard) or self._claim(shard):
                self._read(shard)
                failed = 0
                if progress is not None:
                    progress(shard.length)
                continue
            left.append(shard)
            failed += 1
            if failed >= len(left):
                time.sleep(_WAIT_SECONDS)

    def missing(self) -> int:
        """Return how many frames are not there yet."""
        return sum(s.length for s in self._shards if not self._is_there(s))

    def bytes_of(self, frames: int) -> int:
        """Return how many bytes so many frames take on disk."""
        each = int(np.prod(self._shape)) * stored.DTYPES[self.format].itemsize
        return frames * (each + 4 * len(iou.CLASS_SETS))

    def _cuts(self, start: int, length: int) -> Iterator[tuple[Shard, int, int]]:
        """Yield the shards of a clip, with the first and last row in each."""
        place = bisect.bisect_right(self._starts, start) - 1
        end = start + length
        while start < end:
            shard = self._shards[place]
            stop = min(end, shard.start + shard.length)
            yield shard, start - shard.start, stop - shard.start
            start, place = stop, place + 1

    def _part(self, shard: Shard, begin: int, end: int) -> list[np.ndarray]:
        """Return rows of the features and scores of a shard, computed if need be."""
        while not self._is_there(shard):
            if not self._claim(shard):
                time.sleep(_WAIT_SECONDS)
        return [array[begin:end] for array in self._read(shard)]

    def _read(self, shard: Shard) -> tuple[np.ndarray, np.ndarray]:
        check, dtype = shard not in self._sound, stored.DTYPES[self.format]
        # .npy has no type of 16 bits for these.
        disk = np.dtype(np.uint16) if self.format == "bfloat16" else dtype
        features, scores = self._paths(shard)
        shape = (shard.length, *self._shape)
        found = shards.read(features, shape, disk, check=check)
        shape = (shard.length, len(iou.CLASS_SETS))
        scored = shards.read(scores, shape, np.dtype(np.float32), check=check)
        self._sound.add(shard)
        return found.view(dtype), scored

    def _paths(self, shard: Shard) -> tuple[Path, Path]:
        name = f"{shard.start:08d}-{shard.length}"
        return tuple(
            self.folder / f"{name}.{what}.npy" for what in ("features", "scores")
        )

    def _is_there(self, shard: Shard) -> bool:
        return all(path.is_file() for path in self._paths(shard))

    def _claim(self, shard: Shard) -> bool:
        """Compute a shard unless another process does; say whether it is there now."""
        with files.writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with files.claimed(self.folder / f".{shard.start:08d}.lock") as mine:
            if mine and not self._is_there(shard):
                features, scores = self._compute(shard)
                paths = self._paths(shard)
                if self.format == "bfloat16":
                    features = features.view(np.uint16)
                # Features last: what is there is whole.
                shards.write(paths[1], scores)
                shards.write(paths[0], features)
        return mine

    def _compute(self, shard: Shard) -> tuple[np.ndarray, np.ndarray]:
        records = np.arange(shard.start, shard.start + shard.length)

        def batch(place):
            # The last batch is filled up, as one program does all.
            rows = np.arange(place, place + _BATCH).clip(max=shard.length - 1)
            return self._frames.frames(records[rows])

        run, found = _program(self._model.settings, self._precision), []
        variables = {"segmenter": self._model.variables["segmenter"]}
        with prefetch.Prefetch(batch, range(0, shard.length, _BATCH)) as batches:
            for _, (images, labels) in batches:
                features, scores = run(variables, images, labels)
                rounded = stored.encode(features, self.format)
                found.append(jax.device_get((rounded, scores)))
        return tuple(np.concatenate(x)[: shard.length] for x in zip(*found))

    def _check_room(self) -> None:
        place = next(p for p in (self.folder, *self.folder.parents) if p.exists())
        need, free = self.bytes_of(self.missing()), shutil.disk_usage(place).free
        if need > free:
            found, wanted = f"{free / 2**30:.1f}", f"{need / 2**30:.1f}"
            raise UserError(
                f"{place}: {found} GiB are free; expected {wanted} for the features; "
                "make room, give another place by --config.runtime.features_folder, "
                "or a smaller --config.data.features"
            )


def check_format(name: str, settings: dict[str, Any]) -> None:
    """Raise UserError where a format cannot hold what this N gives."""
    if not holds(name, settings):
        raise UserError(
            f"data.features is {name!r}; expected float32, bfloat16 or computed, as "
            "this segmenter propagates logits; change --config.data.features"
        )


def holds(name: str, settings: dict[str, Any]) -> bool:
    """Say whether a format can hold what this N gives: logits are no probabilities."""
    return name != "uint8" or build.segmenter_net(settings).POSTERIOR


def _cut(runs: Sequence[index.Run], frame_bytes: int) -> list[Shard]:
    most = max(1, min(_SHARD_FRAMES, _SHARD_BYTES // frame_bytes))
    return [
        Shard(start, min(most, run.start + run.length - start))
        for run in runs
        for start in range(run.start, run.start + run.length, most)
    ]


def _feature_shape(model: model_file.Model) -> tuple[int, ...]:
    image = jax.ShapeDtypeStruct((*build.input_size(model.settings), 3), np.uint8)
    feature_fn = build.feature_fn(model.settings)
    return jax.eval_shape(feature_fn, model.variables, image).shape


@build.cached("segmenter")
def _program(settings, precision):
    """Return variables, images, labels of a batch -> features, U_a1 by each reading."""
    feature_fn, task_fn = build.feature_fn(settings, precision), build.task_fn(settings)
    score_fns = [
        build.score_fn(settings, build.Scoring(classes=classes))
        for classes in iou.CLASS_SETS
    ]

    @jax.jit
    def run(variables, images, labels):
        features = dynamic.key_features(
            feature_fn, variables, images, batch_size=_BATCH
        )

        def key_scores(features_and_label):
            features, label = features_and_label
            prediction = task_fn(variables, features)
            return jnp.stack([score_fn(prediction, label) for score_fn in score_fns])

        scores = jax.lax.map(key_scores, (features, labels), batch_size=_BATCH)
        return features, scores

    return run
