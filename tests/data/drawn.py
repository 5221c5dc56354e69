"""Small faces drawn with OpenCV, in both layouts that can be prepared."""

from pathlib import Path

import cv2
import numpy as np

from jaxseg.data import landmarks

SIZE = 96  # pixels a side of every frame


def face_points(x: float = 48.0, y: float = 44.3, size: float = 44.0) -> np.ndarray:
    """Return 68 landmarks [68, 2] of a plain face `size` wide about (x, y)."""
    arc = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.5 * np.cos(arc), 0.55 * np.sin(arc) + 0.05], axis=1)
    brows = [(-0.42 + 0.084 * i, -0.25) for i in range(5)]
    brows += [(0.084 + 0.084 * i, -0.25) for i in range(5)]
    nose = [(0.0, -0.1 + 0.02 * i) for i in range(9)]
    eyes = [_ring(centre, -0.05, 0.09, 0.05, 6) for centre in (-0.22, 0.22)]
    mouth = [_ring(0.0, 0.35, 0.2, 0.1, 12), _ring(0.0, 0.35, 0.14, 0.05, 8)]
    unit = np.concatenate([jaw, brows, nose, *eyes, *mouth])
    assert unit.shape == (68, 2)
    return unit * size + (x, y)


def _ring(x: float, y: float, width: float, height: float, count: int) -> np.ndarray:
    angle = np.pi + 2 * np.pi * np.arange(count) / count
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def write_pts(path: Path, points: np.ndarray) -> None:
    rows = "\n".join(f"{x:.6f} {y:.6f}" for x, y in points)
    path.write_text(f"version: 1\nn_points:  68\n{{\n{rows}\n}}\n")


def draw_frame(points: np.ndarray) -> np.ndarray:
    """Return a smooth RGB frame whose colours follow the label map."""
    labels = landmarks.label_map(points, SIZE, SIZE)
    colours = np.array(
        [[40, 90, 140], [200, 150, 120], [60, 60, 60], [180, 60, 70], [90, 20, 30]]
    )
    return cv2.GaussianBlur(colours[labels].astype(np.uint8), (5, 5), 1.5)


def path_points(video: int, frames: int) -> np.ndarray:
    """Return landmarks [frames, 68, 2] of a face that sways."""
    sway = 6 * np.sin(np.arange(frames) / 4 + video)
    return np.stack([face_points(48 + dx, 44.3, 44 + video) for dx in sway])


def write_video(path: Path, frames: list[np.ndarray], code: str = "MJPG") -> None:
    height, width = frames[0].shape[:2]
    fourcc = cv2.VideoWriter_fourcc(*code)
    writer = cv2.VideoWriter(str(path), fourcc, 25, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def write_archive(
    folder: Path, lengths: dict[str, int], lists: dict[str, list[str]], code="FFV1"
) -> Path:
    """Write videos of the given lengths and the lists in the archive's layout."""
    for place, (name, frames) in enumerate(lengths.items()):
        (folder / name / "annot").mkdir(parents=True)
        points = path_points(place, frames)
        write_video(folder / name / "vid.avi", [draw_frame(p) for p in points], code)
        for number, frame_points in enumerate(points, 1):
            write_pts(folder / name / "annot" / f"{number:06d}.pts", frame_points)
    (folder / "splits").mkdir()
    for split, names in lists.items():
        (folder / "splits" / f"{split}.txt").write_text("\n".join(names) + "\n")
    return folder


def write_release(folder: Path, numbers: dict[str, dict[str, list[int]]]) -> Path:
    """Write frames {split: {video: numbers}} in the layout of the mask release."""
    for part in ("images_orig", "labels_orig", "data_splits/split_2"):
        (folder / part).mkdir(parents=True)
    for split, videos in numbers.items():
        lines = []
        for place, (name, wanted) in enumerate(videos.items()):
            points = path_points(place, max(wanted))
            for number in wanted:
                stem = f"{name}_{number:06d}"
                frame = draw_frame(points[number - 1])
                labels = landmarks.label_map(points[number - 1], SIZE, SIZE)
                image = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
                cv2.imwrite(str(folder / "images_orig" / f"{stem}.jpg"), image)
                cv2.imwrite(str(folder / "labels_orig" / f"{stem}.png"), labels)
                lines.append(f"/images_orig/{stem}.jpg /labels_orig/{stem}.png")
        listing = folder / "data_splits" / "split_2" / f"{split}.txt"
        listing.write_text("\n".join(lines) + "\n")
    return folder
