"""Run a trained model on a video file: overlay video and a JSON line a frame."""

import functools
import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build, dynamic, model_file
from jaxseg.data import crop, pts, scaling, video
from jaxseg.data.opencv import cv2
from jaxseg.errors import UserError
from jaxseg.evaluation import overlay
from jaxseg.runtime import files

Box = tuple[int, int, int, int]  # x, y, width, height in pixels of the frame


class Frame(NamedTuple):
    """What happened at one frame of a stream."""

    labels: np.ndarray  # [h, w] uint8 of the network's input size
    key: bool
    probability: float | None  # of key; None for the first frame, which is key by rule
    key_ratio: float | None
    key_distance: int  # frames since the last key before the decision
    milliseconds: float  # resizing, networks and decision; decoding and drawing apart


def stream(
    model: model_file.Model,
    tau: float | None,
    seed: int = 0,
    precision: str = "float32",
) -> "functools.partial[Iterator[Frame]]":
    """Return a function from an iterator of uint8 RGB images to one of `Frame`.

    Args:
      model: segmenter, flow and policy.
      tau: threshold on the key probability; None samples from the policy.
      seed: of the sampling.
      precision: of the networks, see `ops.precision`.
    """
    if tau is not None and not 0.0 <= tau <= 1.0:
        raise UserError(
            f"the threshold is {tau}; expected a probability from 0 to 1; change --tau"
        )
    policy_fn = build.policy_fn(model.settings, precision)
    framework = build.framework(model.settings, precision)
    policy = model.variables["policy"]
    if tau is None:
        scheduler, params = dynamic.sampled(policy_fn), (policy, jnp.float32(1.0))
    else:
        scheduler, params = dynamic.thresholded(policy_fn), (policy, jnp.float32(tau))
    return functools.partial(_stream, model, framework, scheduler, params, seed)


def _stream(
    model, framework, scheduler, scheduler_params, seed, images
) -> Iterator[Frame]:
    rules = build.rules(model.settings)
    params = dynamic.RolloutParams(
        model.variables, scheduler_params, jnp.float32(jnp.inf)
    )
    start = jax.jit(
        lambda params, image: dynamic.open_stream(
            framework, scheduler, params, image, rules=rules
        )
    )
    step = jax.jit(
        lambda params, rng, stream, image: dynamic.segment_frame(
            framework, scheduler, params, rng, stream, image, rules=rules
        )
    )
    size, rng = build.input_size(model.settings), jax.random.key(seed)
    state = None
    for image in images:
        begun = time.perf_counter()
        resized = jnp.asarray(scaling.resize_image(image, size))
        if state is None:
            # Compiled ahead, so that the first frames' times are those of a stream.
            state, _ = start(params, resized)
            jax.block_until_ready(step(params, rng, state, resized))
            begun = time.perf_counter()
            state, labels = start(params, resized)
            yield Frame(jax.device_get(labels), True, None, None, 0, _since(begun))
            continue
        state, result = step(params, rng, state, resized)
        result = jax.device_get(result)
        yield Frame(
            result.prediction,
            bool(result.decision.action),
            float(result.decision.key_probability),
            float(result.expert[0]),
            int(result.key_distance),
            _since(begun),
        )


def _since(begun: float) -> float:
    return 1e3 * (time.perf_counter() - begun)


class Summary(NamedTuple):
    """What a whole video came to."""

    frames: int
    keys: int
    key_milliseconds: float  # median of the key frames after the first
    non_key_milliseconds: float  # median of the others
    log: Path


def segment_video(
    model: model_file.Model,
    source: str | Path,
    out: str | Path,
    *,
    box: Box | None = None,
    tau: float | None = None,
    seed: int = 0,
    precision: str = "float32",
    progress: Any = None,
) -> Summary:
    """Segment a video file and write an overlay video and a JSON-lines log.

    Args:
      source: any video that OpenCV reads.
      out: overlay video, .mp4, .avi or .webm; the log lies beside it as .jsonl.
      box: where the face is; the largest centred square if None.
      tau, seed, precision: see `stream`.
      progress: called with 1 after every frame.

    Raises:
      UserError: the video cannot be read to its end, is empty, or the box does not lie
        inside the frame; nothing is written then.
    """
    if Path(out).resolve() == Path(source).resolve():
        raise UserError(f"{out} is the input; expected another file; rename the output")
    fps, size = describe(source)
    box, segment = check_box(box, size), stream(model, tau, seed, precision)
    height = round(size[0] * _zoom(size)) // 2 * 2
    width = round(size[1] * _zoom(size)) // 2 * 2
    log_path = Path(out).with_suffix(".jsonl")
    lines, spent = [], {True: [], False: []}
    marks: deque[overlay.Mark] = deque(maxlen=overlay.STRIP_FRAMES)
    keys = 0
    canvas = (height + overlay.STRIP_HEIGHT, width)
    with overlay.Writer(out, canvas, fps) as writer:
        frames, crops = _tee(video.read_video(source), box)
        for number, found in enumerate(segment(crops)):
            frame = next(frames)
            marks.append(overlay.Mark(found.key, found.probability))
            spent[found.key].append(found.milliseconds)
            lines.append(_line(number, found))
            shown = overlay.blend(frame, found.labels, box)
            shown = cv2.resize(shown, (width, height), interpolation=cv2.INTER_AREA)
            keys += found.key
            caption = f"frame {number}  keys {keys}  {found.milliseconds:.1f} ms"
            writer.write(overlay.compose(shown, list(marks), caption))
            if progress is not None:
                progress(1)
    files.write_atomically(log_path, "".join(lines))
    median = lambda values: float(np.median(values)) if values else float("nan")
    return Summary(
        len(lines), keys, median(spent[True][1:]), median(spent[False]), log_path
    )


def _line(number: int, found: Frame) -> str:
    record = {
        "frame": number,
        "key": found.key,
        "probability": found.probability,
        "kar": found.key_ratio,
        "lkd": found.key_distance,
        "milliseconds": round(found.milliseconds, 3),
    }
    return json.dumps(record) + "\n"


def _tee(frames, box: Box):
    """Split a video into whole frames and crops, read in step."""
    waiting = []

    def crops():
        x, y, width, height = box
        for frame in frames:
            waiting.append(frame)
            yield frame[y : y + height, x : x + width]

    def whole():
        while True:
            yield waiting.pop(0)

    return whole(), crops()


def describe(path: str | Path) -> tuple[float, tuple[int, int]]:
    """Return frame rate (25 where unknown) and (height, width) of a video.

    Raises:
      UserError: the file is missing, or not a video that OpenCV reads.
    """
    first = next(video.read_video(path), None)
    if first is None:
        raise UserError(f"{path} has no frames; expected a video; check the file")
    capture = cv2.VideoCapture(str(path))
    fps = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return (fps if 1.0 <= fps <= 240.0 else 25.0), first.shape[:2]


def count_frames(path: str | Path) -> int:
    """Return the number of frames that a video's header promises, for a bar."""
    describe(path)
    capture = cv2.VideoCapture(str(path))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return max(count, 1)


def check_box(box: Box | None, size: tuple[int, int]) -> Box:
    """Return the box, or the largest centred square.

    Raises:
      UserError: the box is empty or leaves the frame of `size` (height, width).
    """
    height, width = size
    if box is None:
        side = min(size)
        return (width - side) // 2, (height - side) // 2, side, side
    x, y, w, h = box
    if min(x, y) < 0 or min(w, h) < 8 or x + w > width or y + h > height:
        raise UserError(
            f"the box {x},{y},{w},{h} does not lie inside the frame of {width} x "
            f"{height} pixels or is smaller than 8; expected x,y,width,height; change "
            "--box"
        )
    return box


def landmark_box(annotations: str | Path, size: tuple[int, int]) -> Box:
    """Return one box for a whole video from its landmark files (.pts).

    Args:
      annotations: folder of NNNNNN.pts files.
      size: (height, width) of the frames.
    """
    paths = sorted(Path(annotations).glob("*.pts"))
    points = np.stack([pts.read_pts(path) for path in paths])
    boxes = crop.crop_boxes(points, np.arange(len(points)), *size, "fixed")
    left, top, right, bottom = (int(value) for value in boxes[0])
    return left - 1, top - 1, right - left + 1, bottom - top + 1


def _zoom(size: tuple[int, int]) -> float:
    """Return how much to enlarge small frames so that the strip can be read."""
    return max(1.0, 480 / size[1])
