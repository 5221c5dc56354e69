"""Synthetic face videos in the layout of 300VW.

The motion (see `motion.MotionRates` for every rate and size) is this project's own
simulation of a person who talks, turns, nods and blinks before a camera: bursts of head
motion at 0.18 a second that return to rest in two of three cases, an Ornstein-Uhlenbeck
sway, talk that switches on and off, 0.3 blinks a second, drifting light with steps at
0.03 a second, an occluder at 0.03 a second, cuts to another scene at 0.008 a second and
an activity exp(N(0, 0.6)) of each person. Nothing is fitted to a real corpus, and no
real face, texture or landmark is in it: results on these videos say how schedulers
compare under known motion, not how they would do on 300VW.

Layout: FOLDER/NNN/vid.avi, FOLDER/NNN/annot/000001.pts (68 points, the centre of the
top-left pixel is (1, 1)), FOLDER/splits/A.txt (one video id a line).
"""

import concurrent.futures
import concurrent.futures.process
import contextlib
import json
import multiprocessing
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from jaxseg.data import video as video_files
from jaxseg.data.opencv import cv2
from jaxseg.data.synthetic import compose, motion
from jaxseg.errors import UserError
from jaxseg.runtime import files

VERSION = 1
_SETTINGS = "synthetic.json"

# Set where the videos at hand shall not be finished; workers share one with the caller.
_stopped = threading.Event()


def render_dataset(
    folder: str | Path,
    *,
    videos: dict[str, int],
    frames: int | dict[str, int],
    size: int | tuple[int, int] = 160,
    fps: float = 30,
    seed: int = 0,
    activity: float = 1.0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render the videos of every split, each with people of its own, into `folder`.

    `videos` is the count and `frames` the length by split, `size` the side or (height,
    width) in pixels. The outcome depends on the settings only, not on `workers`. Videos
    that are complete are kept, so an interrupted call goes on where it stopped.
    `progress(done, total)` is called as videos finish. Raises UserError, and touches
    nothing, where `folder` holds other files or videos of other settings.
    """
    folder = Path(folder).resolve()  # "." has no name to put a lock beside
    height, width = (size, size) if isinstance(size, int) else size
    lengths = {s: frames if isinstance(frames, int) else frames[s] for s in videos}
    settings = {
        "version": VERSION,
        "videos": videos,
        "frames": lengths,
        "size": [height, width],
        "fps": fps,
        "seed": seed,
        "activity": activity,
    }
    with files.writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    busy = (
        f"{folder}: another run is rendering into it; expected none; wait for it or "
        "give another folder"
    )
    with files.locked(folder.with_name(f".{folder.name}.lock"), busy):
        _claim(folder, settings)
        jobs = _plan(folder, videos, lengths)
        left = [job for job in jobs if not job[0].exists()]
        tasks = [
            (path, seed, number, count, (height, width), fps, activity)
            for path, number, count in left
        ]
        with contextlib.closing(_finish(tasks, workers)) as finished:
            for done, _ in enumerate(finished, len(jobs) - len(left) + 1):
                if progress is not None:
                    progress(done, len(jobs))


def render_video(
    seed: int,
    video: int,
    frames: int,
    size: int | tuple[int, int] = 160,
    fps: float = 30,
    activity: float = 1.0,
) -> Iterator[tuple[np.ndarray, np.ndarray, dict]]:
    """Yield image [H, W, 3] uint8 RGB, landmarks [68, 2] (1-based) and the latents."""
    height, width = (size, size) if isinstance(size, int) else size
    rng = np.random.default_rng([seed, video, 0])
    rates = motion.MotionRates().scaled(activity)
    latents = motion.sample_latents(rng, frames, fps, rates)
    composer = compose.Composer(seed, video, height, width)
    before, scene = None, None
    for index in range(frames):
        values = latents.frame(index)
        centre = composer.centre(values)
        cut = before is None or scene != values["scene"]
        speed = np.zeros(2) if cut else centre - before
        before, scene = centre, values["scene"]
        image, landmarks = composer.frame(values, index / fps, speed)
        yield image, landmarks, values


def points_text(landmarks: np.ndarray) -> str:
    """Return the text of a .pts file of landmarks [68, 2]."""
    lines = [f"{x:.3f} {y:.3f}" for x, y in landmarks.tolist()]
    head = f"version: 1\nn_points: {len(lines)}\n{{\n"
    return head + "\n".join(lines) + "\n}\n"


def _claim(folder: Path, settings: dict) -> None:
    record = folder / _SETTINGS
    wanted = json.loads(json.dumps(settings))
    if record.exists():
        found = _read_settings(record)
        if found != wanted:
            names = [k for k in wanted if found.get(k) != wanted[k]]
            expected = json.dumps({name: wanted[name] for name in names})
            raise UserError(
                f"{folder} holds videos of other settings ({', '.join(names)}); "
                f"expected {expected}; give another folder"
            )
    else:
        _check_free(folder)
        with files.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        # First of all, so that whatever a killed call leaves is known for its own.
        files.write_atomically(record, json.dumps(wanted, indent=2) + "\n")
    _write_splits(folder, settings["videos"])


def _read_settings(record: Path) -> dict:
    try:
        found = json.loads(record.read_bytes())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(
            f"{record} is damaged; expected the settings of the videos beside it; give "
            "another folder or remove this one"
        )
    return found


def _check_free(folder: Path) -> None:
    # A hidden file is what a call that was killed while it wrote left behind.
    if folder.exists() and not (
        folder.is_dir() and all(p.name.startswith(".") for p in folder.iterdir())
    ):
        raise UserError(
            f"{folder} holds something else; expected an empty folder or videos of "
            "these settings; give another folder"
        )


def _write_splits(folder: Path, videos: dict[str, int]) -> None:
    with files.writing(folder / "splits"):
        (folder / "splits").mkdir(exist_ok=True)
    first = 1
    for split, count in videos.items():
        names = "".join(f"{number:03d}\n" for number in range(first, first + count))
        files.write_atomically(folder / "splits" / f"{split}.txt", names)
        first += count


def _plan(folder: Path, videos, lengths) -> list[tuple[Path, int, int]]:
    counts = [lengths[split] for split, count in videos.items() for _ in range(count)]
    return [(folder / f"{n:03d}", n, count) for n, count in enumerate(counts, 1)]


def _finish(tasks: list[tuple], workers: int) -> Iterator[None]:
    if workers <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield _write_video(*task)
        return
    # A forked child would inherit the threads of the caller (JAX has many).
    context = multiprocessing.get_context("spawn")
    stopped = context.Event()
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(stopped,)
    ) as pool:
        waiting = [pool.submit(_write_video, *task) for task in tasks]
        try:
            for future in concurrent.futures.as_completed(waiting):
                yield future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise UserError(
                "a process that rendered videos was killed; expected memory for "
                f"{workers} of them; run the same command again with fewer workers"
            ) from error
        except BaseException:  # also an interrupt, and a caller that wants no more
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker(stopped) -> None:
    global _stopped
    _stopped = stopped
    # Ctrl-C reaches every process of the terminal; the caller is the one to act on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)


def _write_video(path: Path, seed, video, frames, size, fps, activity) -> None:
    part = path.with_name(path.name + ".partial")
    shutil.rmtree(part, ignore_errors=True)
    with files.writing(part):
        (part / "annot").mkdir(parents=True)
    code = cv2.VideoWriter_fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(part / "vid.avi"), code, fps, (size[1], size[0]))
    if not writer.isOpened():
        raise UserError(
            f"OpenCV cannot write MJPG video to {part}; expected a build with video "
            "support; install opencv-python-headless"
        )
    rows = render_video(seed, video, frames, size, fps, activity)
    for index, (image, landmarks, _) in enumerate(rows, 1):
        if _stopped.is_set():
            return
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        points = part / "annot" / f"{index:06d}.pts"
        with files.writing(points):
            points.write_text(points_text(landmarks))
    writer.release()
    _check_written(part / "vid.avi", frames)
    with files.writing(path):
        part.rename(path)


def _check_written(path: Path, frames: int) -> None:
    # OpenCV says nothing where the disk is full.
    try:
        for _ in video_files.read_video(path, expected=frames):
            pass
    except UserError as error:
        raise UserError(
            f"{path} was not written whole: found {str(error).rpartition('; ')[0]}; "
            "make room on the disk and run the same command again"
        ) from error
