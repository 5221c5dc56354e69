"""Pair tables on disk: computed once for a clip and a pair of networks, then reused."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg import build, dynamic, model_file
from jaxseg.data import index
from jaxseg.evaluation import arrays

# Pairs of a batch times pixels of the label map: 256 at 97 x 97, 9 at 513 x 513.
_BATCH_PIXELS = 256 * 97 * 97


def batch_size(settings: dict[str, Any]) -> int:
    """Return how many pairs to evaluate together, so that memory stays bounded."""
    height, width = build.input_size(settings)
    return max(8, _BATCH_PIXELS // (height * width))


def digest(
    model: model_file.Model,
    data: str = "",
    scoring: build.Scoring = build.DEFAULT_SCORING,
    parts: Sequence[str] = ("segmenter", "flow"),
    precision: str = "float32",
) -> str:
    """Return 16 hex digits that name what tables depend on: N, F, data and score.

    Args:
      data: any text that identifies the prepared frames.
      parts: of the model that count.
      precision: that tables are computed in, resolved.
    """
    name = hashlib.sha256(data.encode())
    for part in parts:
        name.update(json.dumps(model.settings[part], sort_keys=True).encode())
        for leaf in jax.tree.leaves(model.variables[part]):
            name.update(np.asarray(leaf).tobytes())
    name.update(repr(scoring).encode())
    if precision != "float32":  # which had no name before there were others
        name.update(precision.encode())
    return name.hexdigest()[:16]


def episode_of(
    model: model_file.Model,
    clip: dynamic.Clip,
    scoring: build.Scoring = build.DEFAULT_SCORING,
    precision: str = "float32",
) -> dynamic.Episode:
    """Prepare the episode of a clip; see `build.prepare_fn`."""
    return _prepare(model.settings, scoring, precision)(_networks(model), clip)


def clip_table(
    model: model_file.Model,
    clip: Callable[[], dynamic.Clip],
    path: Path,
    *,
    scoring: build.Scoring = build.DEFAULT_SCORING,
    precision: str = "float32",
    progress: Callable[[int], None] | None = None,
) -> dynamic.PairTable:
    """Read the table of a clip from `path`, or compute it and write it there.

    Args:
      clip: called only where the table must be computed.
      precision: of N and F; the path should tell it, see `digest`.
      progress: called with numbers of finished pairs.
    """
    if path.is_file():
        table = arrays.read(
            path, lambda found: dynamic.PairTable(**found), "a pair table"
        )
        if progress is not None:
            progress(len(table.scores))
        return table
    table = dynamic.build_table(
        build.pair_fn(model.settings, scoring, precision),
        _networks(model),
        episode_of(model, clip(), scoring, precision),
        batch_size=batch_size(model.settings),
        progress=progress,
    )
    arrays.write(path, table._asdict())
    return table


def data_digest(prepared: str | Path) -> str:
    """Return hex digits that identify the frames of a prepared folder.

    Raises:
      UserError: the folder is missing or not prepared.
    """
    index.read(Path(prepared))
    return hashlib.sha256(Path(prepared, index.FILE).read_bytes()).hexdigest()[:16]


def _networks(model: model_file.Model) -> dict[str, Any]:
    return {name: model.variables[name] for name in ("segmenter", "flow")}


@build.cached("segmenter", "flow")
def _prepare(settings, scoring, precision):
    return jax.jit(build.prepare_fn(settings, scoring, precision))
