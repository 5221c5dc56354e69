"""Clips of a split, with what N makes of their frames where a config stores it."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxseg import build, dynamic, model_file
from jaxseg.data import source
from jaxseg.evaluation import checks, feature_store, tables
from jaxseg.ops import stored

COMPUTED = "computed"
FORMATS = (COMPUTED, *stored.DTYPES)  # values of `data.features`
FOLDER = "features"  # in the prepared folder

# start, length -> clip
ClipFn = Callable[[int, int], dynamic.Clip]


def check(config: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse a config whose `data.features` cannot be used with this N.

    Raises:
      UserError: an unknown format, or one that cannot hold logits.
    """
    checks.one_of(
        {"data.features": config["data"]["features"]}, "data.features", FORMATS
    )
    feature_store.check_format(config["data"]["features"], settings)


def clips(
    config: dict[str, Any],
    model: model_file.Model,
    frames: source.FrameSource,
    scoring: build.Scoring = build.DEFAULT_SCORING,
) -> ClipFn:
    """Return what reads clips of a split, with N's features where config stores them.

    What is not there yet is computed and kept.
    """
    if config["data"]["features"] == COMPUTED:
        return lambda start, length: dynamic.Clip(*frames.clip(start, length))
    store = open_store(config, model, frames)
    return functools.partial(store.clip, scoring=scoring)


def open_store(
    config: dict[str, Any], model: model_file.Model, frames: source.FrameSource
) -> feature_store.Store:
    """Return the store that a config names, which need not exist yet."""
    prepared = config["data"]["prepared"]
    folder = config["runtime"]["features_folder"] or Path(prepared, FOLDER)
    return feature_store.Store(
        Path(folder),
        model,
        frames,
        config["data"]["features"],
        tables.data_digest(prepared),
        config["runtime"]["precision"],
    )


def identity(config: dict[str, Any]) -> str:
    """Return a text that names the data and, where it is not exact, the rounding."""
    data = tables.data_digest(config["data"]["prepared"])
    name = config["data"]["features"]
    return data if name in (COMPUTED, "float32") else f"{data}-{name}"
