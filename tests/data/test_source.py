import concurrent.futures

import cv2
import numpy as np
import pytest

from jaxseg.data import landmarks, source
from jaxseg.errors import UserError
from tests.data import drawn


def test_videos_and_runs_describe_the_split(prepared):
    frames = source.FrameSource(prepared, "A", 64)
    assert len(frames) == 65
    assert [(video.name, video.first) for video in frames.videos] == [
        ("001", 0),
        ("002", 40),
    ]
    assert frames.videos[1].numbers.tolist() == list(range(1, 26))
    assert [tuple(run) for run in frames.runs] == [(0, 0, 40), (1, 40, 25)]
    assert frames.locate(39) == ("001", 40) and frames.locate(40) == ("002", 1)
    assert frames.run_of(39) == 0 and frames.run_of(40) == 1


def test_any_indices_in_any_order_give_the_same_frames(prepared):
    frames = source.FrameSource(prepared, "A", 64)
    images, labels = frames.frames(range(65))
    assert images.shape == (65, 64, 64, 3) and images.dtype == np.uint8
    assert labels.shape == (65, 64, 64) and labels.dtype == np.uint8
    picked = [60, 3, 3, 41, 0]
    some_images, some_labels = frames.frames(picked)
    np.testing.assert_array_equal(some_images, images[picked])
    np.testing.assert_array_equal(some_labels, labels[picked])
    np.testing.assert_array_equal(frames.images(np.array(picked)), images[picked])
    assert (images[0] != images[1]).any()


def test_frames_are_rgb_and_labels_lie_on_them(prepared):
    images, labels = source.FrameSource(prepared, "A", 64).frames([0])
    skin = images[0][labels[0] == 1].mean(axis=0)
    np.testing.assert_allclose(skin, [200, 150, 120], atol=15)
    background = images[0][labels[0] == 0].mean(axis=0)
    np.testing.assert_allclose(background, [40, 90, 140], atol=15)


@pytest.mark.parametrize("size", [33, 129, (48, 96)])
def test_labels_resize_as_drawing_at_that_size_would(prepared, size):
    frames = source.FrameSource(prepared, "A", size)
    height, width = frames.size
    images, labels = frames.frames([5])
    assert images.shape == (1, height, width, 3)
    record = frames._records[5]
    stored = cv2.imdecode(np.frombuffer(record["label"], np.uint8), -1)
    scale = np.array([width / stored.shape[1], height / stored.shape[0]])
    points = drawn.path_points(0, 6)[5] - (record["crop"][:2] - 1)
    # Centres of pixels are at 1, 2, ..: the edge of the image lies at a half.
    redrawn = landmarks.label_map((points - 0.5) * scale + 0.5, height, width)
    agreement = (labels[0] == redrawn).mean()
    shifted = [
        (np.roll(labels[0], step, axis) == redrawn).mean()
        for axis in (0, 1)
        for step in (-1, 1)
    ]
    assert agreement > 0.95
    assert agreement > max(shifted)


def test_a_clip_is_consecutive_frames_of_one_run(prepared):
    frames = source.FrameSource(prepared, "A", 32)
    images, labels = frames.clip(40, 25)
    expected = frames.frames(range(40, 65))
    np.testing.assert_array_equal(images, expected[0])
    np.testing.assert_array_equal(labels, expected[1])
    with pytest.raises(IndexError, match="crosses the end of its run at 39"):
        frames.clip(35, 6)
    with pytest.raises(IndexError):
        frames.clip(65, 1)


@pytest.mark.parametrize("index", [-1, 65])
def test_frames_outside_the_split_are_an_index_error(prepared, index):
    frames = source.FrameSource(prepared, "A", 32)
    with pytest.raises(IndexError, match="has 65 frames"):
        frames.frames([0, index])
    with pytest.raises(IndexError, match="has 65 frames"):
        frames.locate(index)


def test_no_indices_give_empty_arrays(prepared):
    images, labels = source.FrameSource(prepared, "A", 32).frames([])
    assert images.shape == (0, 32, 32, 3) and labels.shape == (0, 32, 32)


def test_the_cache_changes_nothing_and_hands_out_copies(prepared, monkeypatch):
    plain = source.FrameSource(prepared, "A", 32)
    cached = source.FrameSource(prepared, "A", 32, cache=True)
    expected = plain.frames([7, 7, 64])
    first = cached.frames([7, 7, 64])
    first[0][:] = 0
    monkeypatch.setattr(cached, "_decode", None)  # all of them are kept by now
    second = cached.frames([7, 7, 64])
    for got, wanted in zip(second, expected):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("cache", [False, True])
def test_threads_may_read_at_the_same_time(prepared, cache):
    frames = source.FrameSource(prepared, "A", 32, cache=cache)
    expected = source.FrameSource(prepared, "A", 32).frames(range(65))[0]
    wanted = [np.random.default_rng(i).integers(0, 65, 20) for i in range(24)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        got = list(pool.map(frames.images, wanted))
    for indices, images in zip(wanted, got):
        np.testing.assert_array_equal(images, expected[indices])


def test_an_unknown_split_is_answered_with_those_there_are(prepared):
    with pytest.raises(UserError, match="no split 'C'; expected one of A, B"):
        source.FrameSource(prepared, "C", 32)


def test_a_record_that_does_not_decode_is_named(prepared, monkeypatch):
    frames = source.FrameSource(prepared, "A", 32)
    records = frames._records.__getitems__([3])
    records[0]["label"] = records[0]["label"][:9]
    monkeypatch.setattr(frames, "_records", _Records(records))
    with pytest.raises(UserError, match="prepared: record 3 of split A does not"):
        frames.frames([3])


class _Records(list):
    def __getitems__(self, indices):
        return self


def test_an_index_of_another_shape_is_refused(tmp_path):
    (tmp_path / "index.json").write_text("[1]")
    with pytest.raises(UserError, match=r"index\.json: holds a list"):
        source.FrameSource(tmp_path, "A", 32)


def test_a_folder_that_is_not_prepared_says_how_to_prepare_one(tmp_path):
    with pytest.raises(UserError, match="jaxseg dataset prepare"):
        source.FrameSource(tmp_path / "nowhere", "A", 32)
    with pytest.raises(UserError, match="no index.json in it.*jaxseg dataset prepare"):
        source.FrameSource(tmp_path, "A", 32)
