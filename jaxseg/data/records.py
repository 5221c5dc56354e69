"""From the files of one video to encoded records, one per frame."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxseg.data import (
    classes,
    crop,
    landmarks,
    layouts,
    pts,
    references,
    scaling,
    snippets,
    video,
)
from jaxseg.data.opencv import cv2
from jaxseg.errors import UserError

_MIN_SIDE = 8  # pixels; a smaller crop holds no face


class Settings(NamedTuple):
    """Hold how records are made; see `prepare.prepare` for the meaning."""

    crop: str = "per_frame"
    label_ids: dict[int, int] | None = None
    on_damage: str = "error"
    image_size: int | None = None
    image_format: str = "jpeg"
    jpeg_quality: int = 95
    verify: str = "whole"


class Skipped(NamedTuple):
    """Hold one thing left out: its file and the error that it gave."""

    what: str
    why: str


class Converted(NamedTuple):
    """Hold the records of one video in frame order, and what was left out of it."""

    name: str
    num_planned: int
    examples: list[dict]
    skipped: list[Skipped]


def convert(
    source: layouts.Video,
    settings: Settings,
    checks: references.Checks | None = None,
) -> Converted:
    """Return the records of one video; `checks` are for snippets of Cityscapes.

    Damage raises UserError; with on_damage "skip" a bad frame is left out alone, and a
    video whose frames and landmarks do not match in number is left out whole, because
    then no frame is known to belong to its landmarks. So is a snippet of which any file
    is bad.
    """
    skipped = []
    examples = []
    try:
        if isinstance(source, layouts.MaskVideo):
            examples = _convert_mask(source, settings, skipped)
        elif isinstance(source, snippets.Snippet):
            examples = references.examples(source, checks)
        else:
            examples = _convert_archive(source, settings, skipped)
    except UserError as error:
        _damage(settings, skipped, source.name, error)
    return Converted(source.name, source.num_frames, examples, skipped)


def _convert_archive(
    source: layouts.ArchiveVideo, settings: Settings, skipped: list[Skipped]
) -> list[dict]:
    if not source.points:
        raise UserError(
            f"{source.path.parent / 'annot'}: no landmark files; expected 000001.pts "
            "and so on; restore them or leave the video out"
        )
    last = max(source.points)
    points = _read_points(source, last, settings, skipped)
    boxes, examples = None, []
    for number, frame in enumerate(video.read_video(source.path, expected=last), 1):
        if boxes is None:
            boxes = _boxes(source, points, frame.shape[:2], settings, skipped)
        if number in boxes:
            box = boxes[number]
            image = crop.cut(frame, box)
            labels = landmarks.label_map(
                points[number] - (box[:2] - 1), *image.shape[:2]
            )
            example = _encode(image, labels, settings)
            examples.append(example | _place(source.name, number, box))
    return examples


def _read_points(
    source: layouts.ArchiveVideo, last: int, settings: Settings, skipped: list[Skipped]
) -> dict[int, np.ndarray]:
    points = {}
    for number in range(1, last + 1):
        path = source.points.get(number) or source.path.parent.joinpath(
            "annot", f"{number:06d}.pts"
        )
        try:
            points[number] = pts.read_pts(path)
        except UserError as error:
            _damage(settings, skipped, str(path), error)
    return points


def _boxes(
    source: layouts.ArchiveVideo,
    points: dict[int, np.ndarray],
    frame_size: tuple[int, int],
    settings: Settings,
    skipped: list[Skipped],
) -> dict[int, np.ndarray]:
    good = []
    for number, frame_points in points.items():
        left, top, right, bottom = crop.crop_box(frame_points, *frame_size)
        if min(right - left, bottom - top) + 1 >= _MIN_SIDE:
            good.append(number)
            continue
        path = source.points[number]
        error = UserError(
            f"{path}: the landmarks leave no face in the frame of {frame_size[1]}x"
            f"{frame_size[0]} pixels; expected 68 points in it; correct the file or "
            "leave the frame out (on_damage='skip')"
        )
        _damage(settings, skipped, str(path), error)
    if not good:
        return {}
    stacked = np.stack([points[number] for number in good])
    boxes = crop.crop_boxes(stacked, np.array(good), *frame_size, settings.crop)
    return dict(zip(good, boxes, strict=True))


def _convert_mask(
    source: layouts.MaskVideo, settings: Settings, skipped: list[Skipped]
) -> list[dict]:
    table = classes.lookup(settings.label_ids)
    examples = []
    for number, (image_path, label_path) in source.frames.items():
        try:
            data, image = _read_image(image_path, cv2.IMREAD_COLOR)
            _, stored = _read_image(label_path, cv2.IMREAD_UNCHANGED)
            labels = classes.map_labels(stored, table, str(label_path))
            if labels.shape != image.shape[:2]:
                (height, width), (h, w) = image.shape[:2], labels.shape
                raise UserError(
                    f"{label_path}: {w}x{h} pixels; expected {width}x{height} as in "
                    f"{image_path.name}; restore the file or leave its frame out "
                    "(on_damage='skip')"
                )
        except UserError as error:
            _damage(settings, skipped, str(image_path), error)
            continue
        example = _encode(image, labels, settings)
        fits = settings.image_size is None or max(labels.shape) <= settings.image_size
        if fits and settings.image_format == "jpeg" and data[:2] == b"\xff\xd8":
            example["image"] = data  # encoding it again would only lose
        whole = np.array([1, 1, image.shape[1], image.shape[0]], np.int32)
        examples.append(example | _place(source.name, number, whole))
    return examples


def _read_image(path: Path, flags: int) -> tuple[bytes, np.ndarray]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    # OpenCV fills the rest of a cut file with grey and says nothing.
    if not (b"\xff\xd9" in data[-1024:] or b"IEND" in data[-64:]):
        raise _unreadable(path, f"{len(data)} bytes without the end of an image")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        raise _unreadable(path, f"{len(data)} bytes that are no image")
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., 2::-1])  # BGR or BGRA to RGB
    return data, pixels


def _unreadable(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path}: {reason}; expected a whole JPEG or PNG; restore the file or leave "
        "its frame out (on_damage='skip')"
    )


def _encode(image: np.ndarray, labels: np.ndarray, settings: Settings) -> dict:
    size = scaling.fit_within(*labels.shape, settings.image_size)
    image = cv2.cvtColor(scaling.resize_image(image, size), cv2.COLOR_RGB2BGR)
    labels = np.ascontiguousarray(scaling.resize_labels(labels, size))
    if settings.image_format == "jpeg":
        quality = [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality]
        encoded = cv2.imencode(".jpg", image, quality)[1]
    else:
        encoded = cv2.imencode(".png", image)[1]
    return {
        "image": encoded.tobytes(),
        "label": cv2.imencode(".png", labels)[1].tobytes(),
    }


def _place(name: str, number: int, box: np.ndarray) -> dict:
    return {"video": name, "frame": number, "crop": box}


def _damage(
    settings: Settings, skipped: list[Skipped], what: str, error: UserError
) -> None:
    if settings.on_damage == "error":
        raise error
    skipped.append(Skipped(what, str(error)))
