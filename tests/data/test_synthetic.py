"""Tests of the synthetic face videos."""

import concurrent.futures.process
import json
import types

import cv2
import numpy as np
import pytest

from jaxseg.data.synthetic import compose, draw, motion, render
from jaxseg.errors import UserError
from jaxseg.runtime import files

SMALL = {"videos": {"A": 1, "B": 1, "C": 1}, "frames": {"A": 5, "B": 4, "C": 3}}
SIZE = 64


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "videos"
    render.render_dataset(folder, **SMALL, size=SIZE, seed=3)
    return folder


@pytest.fixture(scope="module")
def composer():
    return compose.Composer(0, 3, 160, 160)


def test_videos_are_a_function_of_seed_and_number():
    first, again, other, reseeded = (
        list(render.render_video(seed, video, 3, SIZE))
        for seed, video in ((0, 1), (0, 1), (0, 2), (1, 1))
    )
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
    assert not np.array_equal(first[0][0], other[0][0])
    assert not np.array_equal(first[0][0], reseeded[0][0])


def test_two_workers_write_the_bytes_of_one(dataset, tmp_path):
    render.render_dataset(tmp_path / "two", **SMALL, size=SIZE, seed=3, workers=2)
    assert _contents(tmp_path / "two") == _contents(dataset)


def test_layout_is_that_of_300vw(dataset):
    assert sorted(p.name for p in dataset.iterdir()) == [
        "001",
        "002",
        "003",
        "splits",
        "synthetic.json",
    ]
    for name, frames in (("001", 5), ("002", 4), ("003", 3)):
        points = sorted(p.name for p in (dataset / name / "annot").iterdir())
        assert points == [f"{index:06d}.pts" for index in range(1, frames + 1)]
        assert len(_decode(dataset / name / "vid.avi")) == frames


def test_decoded_frames_are_the_rendered_ones(dataset):
    frames = _decode(dataset / "001" / "vid.avi")
    for decoded, (image, _, _) in zip(frames, render.render_video(3, 1, 5, SIZE)):
        assert np.abs(decoded[..., ::-1].astype(float) - image).mean() < 8


def test_points_files_hold_the_landmarks(dataset):
    for index, (_, landmarks, _) in enumerate(render.render_video(3, 1, 5, SIZE), 1):
        text = (dataset / "001" / "annot" / f"{index:06d}.pts").read_text()
        lines = text.splitlines()
        assert lines[:3] == ["version: 1", "n_points: 68", "{"] and lines[-1] == "}"
        parsed = np.array([[float(v) for v in line.split()] for line in lines[3:-1]])
        np.testing.assert_allclose(parsed, landmarks, atol=6e-4)


def test_splits_are_disjoint_and_cover_the_videos(dataset):
    names = [
        (dataset / "splits" / f"{split}.txt").read_text().split() for split in "ABC"
    ]
    assert names == [["001"], ["002"], ["003"]]


def test_people_of_different_videos_differ():
    people = [compose.Composer(0, video, 48, 48).person for video in (1, 2, 3)]
    for one, two in ((0, 1), (0, 2), (1, 2)):
        a, b = people[one], people[two]
        assert np.abs(a.shape.landmarks - b.shape.landmarks).mean() > 0.01
        assert np.abs(a.albedo.astype(float) - b.albedo).mean() > 3


@pytest.mark.parametrize("eye", [(36, 37, 38, 41, 40), (42, 43, 44, 47, 46)])
def test_eyes_close_with_the_blink(composer, eye):
    corner, *lids = eye
    openings = []
    for closed in (0.0, 1.0):
        points = composer.landmarks(_latents(eyes=closed))
        openings.append(
            points[lids[2], 1]
            - points[lids[0], 1]
            + points[lids[3], 1]
            - points[lids[1], 1]
        )
    assert openings[0] > 2
    assert 0 < openings[1] < 0.2 * openings[0]


def test_mouth_opens_with_its_latent(composer):
    gaps = []
    for mouth in (0.0, 0.5, 1.0):
        points = composer.landmarks(_latents(mouth=mouth))
        gaps.append(points[66, 1] - points[62, 1])
    assert 0 < gaps[0] < 2
    assert gaps[1] > gaps[0] + 3 and gaps[2] > gaps[1] + 3


def test_positive_angles_turn_right_down_and_clockwise(composer):
    rest = composer.landmarks(_latents())
    right = composer.landmarks(_latents(yaw=1.0))
    down = composer.landmarks(_latents(pitch=0.6))
    tilted = composer.landmarks(_latents(roll=0.6))

    def nose(points):
        return points[30] - points[[0, 16]].mean(0)

    assert nose(right)[0] > nose(rest)[0] + 8
    assert nose(down)[1] > nose(rest)[1] + 4
    slope = tilted[45] - tilted[36]
    assert np.degrees(np.arctan2(slope[1], slope[0])) == pytest.approx(18, abs=4)


@pytest.mark.parametrize("yaw", [-1.3, -0.7, 0.0, 0.7, 1.3])
def test_jaw_follows_the_visible_outline_on_the_far_side(yaw):
    composer = compose.Composer(0, 3, 160, 160)
    latents = _latents(yaw=yaw)
    points = composer.landmarks(latents)
    jaw, inner = points[:17], points[17:]
    slack = 0.03 * np.ptp(points[:, 0])
    assert jaw[:, 0].min() < inner[:, 0].min() + slack
    assert jaw[:, 0].max() > inner[:, 0].max() - slack
    if yaw:
        person = _foreground(composer, latents)
        outward = 2.5 * np.array([np.sign(yaw), 0.0])
        for point in jaw[12:15] if yaw > 0 else jaw[2:5]:
            assert _at(person, point - outward)
            assert not _at(person, point + outward)


@pytest.mark.parametrize("video", range(1, 9))
def test_lips_eyes_and_skin_differ_in_colour(video):
    composer = compose.Composer(0, video, 160, 160)
    image, landmarks = composer.frame(_latents(mouth=0.3), 0.0, np.zeros(2))
    points = landmarks - 1
    lips = _mask(points, draw.OUTER_MOUTH) & ~_mask(points, draw.INNER_MOUTH)
    eyes = _mask(points, draw.EYES[0]) | _mask(points, draw.EYES[1])
    around = cv2.dilate(
        (lips | _mask(points, draw.INNER_MOUTH)).astype(np.uint8), KERNEL
    )
    ring = around.astype(bool) & ~_mask(points, draw.OUTER_MOUTH)
    halo = cv2.dilate(eyes.astype(np.uint8), KERNEL).astype(bool) & ~eyes
    assert np.linalg.norm(image[lips].mean(0) - image[ring].mean(0)) > 9
    assert image[eyes].std() > 1.3 * image[halo].std() or (
        np.linalg.norm(image[eyes].mean(0) - image[halo].mean(0)) > 12
    )


def test_a_fast_head_is_smeared_and_its_background_is_not():
    images = []
    for speed in ((0.0, 0.0), (10.0, 0.0)):
        composer = compose.Composer(0, 3, 160, 160)
        image, landmarks = composer.frame(_latents(), 0.0, np.array(speed))
        images.append(image.astype(float))
    low, high = np.round([landmarks.min(0), landmarks.max(0)]).astype(int)
    change = np.abs(images[0] - images[1]).mean(-1)
    assert change[low[1] : high[1], low[0] : high[0]].mean() > 3
    assert change[:, :8].max() == 0


def test_resuming_keeps_what_is_finished(dataset, tmp_path):
    folder = tmp_path / "videos"
    render.render_dataset(folder, **SMALL, size=SIZE, seed=3)
    (folder / "002").rename(folder / "002.partial")
    marks = {n: (folder / n / "vid.avi").stat().st_mtime_ns for n in ("001", "003")}
    calls = []
    render.render_dataset(
        folder, **SMALL, size=SIZE, seed=3, progress=lambda *at: calls.append(at)
    )
    assert calls == [(3, 3)]
    for name, time in marks.items():
        assert (folder / name / "vid.avi").stat().st_mtime_ns == time
    assert _contents(folder) == _contents(dataset)


def test_other_settings_are_refused_and_nothing_is_touched(dataset):
    before = _contents(dataset)
    with pytest.raises(UserError, match="seed"):
        render.render_dataset(dataset, **SMALL, size=SIZE, seed=4)
    assert _contents(dataset) == before


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="something else"):
        render.render_dataset(tmp_path, **SMALL, size=SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_a_call_killed_at_its_start_is_gone_on_with(dataset, tmp_path, monkeypatch):
    folder = tmp_path / "videos"
    with monkeypatch.context() as patch:
        patch.setattr(render, "_write_splits", _fail)
        with pytest.raises(UserError, match="killed"):
            render.render_dataset(folder, **SMALL, size=SIZE, seed=3)
    render.render_dataset(folder, **SMALL, size=SIZE, seed=3)
    assert _contents(folder) == _contents(dataset)


def test_damaged_settings_are_named(tmp_path):
    (tmp_path / "synthetic.json").write_text('{"version')
    with pytest.raises(UserError, match=r"synthetic\.json is damaged"):
        render.render_dataset(tmp_path, **SMALL, size=SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["synthetic.json"]


def test_a_video_that_lacks_frames_is_not_taken_for_whole(tmp_path, monkeypatch):
    class _Writer:  # as OpenCV's does where the disk is full
        def __init__(self, path, *options):
            self._writer, self._left = cv2.VideoWriter(path, *options), 2

        def write(self, image):
            self._left -= 1
            if self._left >= 0:
                self._writer.write(image)

        def __getattr__(self, name):
            return getattr(self._writer, name)

    fake = types.SimpleNamespace(**vars(cv2) | {"VideoWriter": _Writer})
    monkeypatch.setattr(render, "cv2", fake)
    said = r"vid\.avi was not written whole: .*delivered 2 frames but 5 were expected"
    with pytest.raises(UserError, match=said):
        render.render_dataset(tmp_path / "v", **SMALL, size=SIZE)
    assert not (tmp_path / "v" / "001").exists()


def test_a_failure_in_one_worker_stops_the_others(tmp_path, monkeypatch):
    folder = tmp_path / "videos"
    many = {"videos": {"A": 4}, "frames": {"A": 5000}}
    with monkeypatch.context() as patch:
        patch.setattr(render, "_finish", lambda *_: (None for _ in ()))
        render.render_dataset(folder, **many, size=SIZE)
    (folder / "002.partial").write_text("in the way")
    with pytest.raises(UserError, match=r"002\.partial: cannot be written"):
        render.render_dataset(folder, **many, size=SIZE, workers=2)
    assert not any((folder / name).exists() for name in ("001", "003", "004"))


def test_two_runs_do_not_render_into_one_folder(tmp_path):
    with files.locked(tmp_path / ".videos.lock", "busy"):
        with pytest.raises(UserError, match="videos: another run is rendering"):
            render.render_dataset(tmp_path / "videos", **SMALL, size=SIZE)
    assert not (tmp_path / "videos").exists()


def test_a_killed_worker_is_named(tmp_path, monkeypatch):
    class Pool(concurrent.futures.ThreadPoolExecutor):
        def __init__(self, workers, **options):
            super().__init__(workers)

        def submit(self, *task):
            future = concurrent.futures.Future()
            future.set_exception(concurrent.futures.process.BrokenProcessPool())
            return future

    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Pool)
    with pytest.raises(UserError, match="was killed; expected memory for 2"):
        render.render_dataset(tmp_path / "v", **SMALL, size=SIZE, workers=2)


def test_height_and_width_may_differ():
    image, landmarks, _ = next(render.render_video(0, 1, 1, (72, 96)))
    assert image.shape == (72, 96, 3)
    low, high = landmarks.min(0), landmarks.max(0)
    assert (low > 0).all() and (high < (97, 80)).all()


def test_motion_has_its_rates():
    rng = np.random.default_rng(0)
    rates = motion.MotionRates()._replace(activity_sd=0.0)
    videos = [motion.sample_latents(rng, 1800, 30, rates) for _ in range(24)]
    seconds = 24 * 60
    blinks = sum(((v.eyes[1:] > 0) & (v.eyes[:-1] == 0)).sum() for v in videos)
    cuts = sum(v.scene[-1] for v in videos)
    assert blinks / seconds == pytest.approx(0.28, abs=0.05)
    assert cuts / seconds == pytest.approx(0.008, abs=0.006)
    yaw = np.concatenate([v.yaw for v in videos])
    assert 0.2 < yaw.std() < 0.7
    assert 1.0 < np.abs(yaw).max() <= 1.6


def test_activity_multiplies_the_named_rates():
    rates, livelier = motion.MotionRates(), motion.MotionRates().scaled(2.0)
    changed = {k for k in rates._fields if getattr(rates, k) != getattr(livelier, k)}
    assert changed == {"burst", "talk", "light_step", "occluder", "cut"}
    assert livelier.burst == 2 * rates.burst


def _fail(*_):
    raise UserError("killed")


KERNEL = np.ones((7, 7), np.uint8)


def _latents(**values) -> dict:
    names = motion.Latents._fields
    still = {name: 0.0 for name in names}
    still.update(gaze=np.zeros(2), drift=np.zeros(2), scene=0)
    return {**still, **values}


def _mask(points, parts) -> np.ndarray:
    mask = np.zeros((160, 160), np.uint8)
    draw.fill(mask, draw.curve(points, parts), 1)
    return mask.astype(bool)


def _foreground(composer, latents) -> np.ndarray:
    scene = composer.scene(0)._replace(near=None)
    images = []
    for level in (0, 255):
        scene.picture[:] = level
        images.append(composer.frame(latents, 0.0, np.zeros(2))[0].astype(float))
    return np.abs(images[0] - images[1]).mean(-1) < 90


def _at(mask, point) -> bool:
    x, y = np.round(point).astype(int)
    return bool(mask[y, x])


def _decode(path) -> list[np.ndarray]:
    video, frames = cv2.VideoCapture(str(path)), []
    while True:
        good, frame = video.read()
        if not good:
            return frames
        frames.append(frame)


def _contents(folder) -> dict[str, bytes]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    found = {str(p.relative_to(folder)): p.read_bytes() for p in files}
    assert json.loads(found["synthetic.json"])["version"] == render.VERSION
    return found
