"""Preparing folders: what comes out, what is refused, what is left out and named."""

import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from jaxseg.data import crop, landmarks, prepare, pts, source, vw300
from jaxseg.errors import UserError
from jaxseg.runtime import files
from tests.data import drawn


def refused(folder, out, **options):
    """Return the message of the refusal, after checking that nothing was left."""
    before = sorted(path.name for path in out.parent.iterdir())
    with pytest.raises(UserError) as caught:
        prepare.prepare(folder, out, **options)
    assert sorted(path.name for path in out.parent.iterdir()) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def truncate(path, share=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def records_of(out, split):
    """Return every record of a split, still encoded."""
    frames = source.FrameSource(out, split, 32)
    return frames._records.__getitems__(list(range(len(frames))))


def test_records_hold_the_authors_crop_of_every_frame_in_order(archive, tmp_path):
    report = prepare.prepare(archive, tmp_path / "out", image_format="png")
    assert report.frames == {"A": 21, "B": 7, "C": 5}
    assert report.videos == {"A": 2, "B": 1, "C": 1}
    assert report.skipped == [] and not report.reused
    records = records_of(tmp_path / "out", "A")
    places = [(record["video"].decode(), int(record["frame"])) for record in records]
    assert places == [("001", n) for n in range(1, 13)] + [
        ("002", n) for n in range(1, 10)
    ]
    for record in records:
        path = archive / record["video"].decode() / "annot"
        points = pts.read_pts(path / f"{int(record['frame']):06d}.pts")
        box = crop.crop_box(points, drawn.SIZE, drawn.SIZE)
        np.testing.assert_array_equal(record["crop"], box)
        labels = cv2.imdecode(np.frombuffer(record["label"], np.uint8), -1)
        whole = landmarks.label_map(points, drawn.SIZE, drawn.SIZE)
        np.testing.assert_array_equal(labels, crop.cut(whole, box))
        image = cv2.imdecode(np.frombuffer(record["image"], np.uint8), 1)[..., ::-1]
        np.testing.assert_array_equal(image, crop.cut(drawn.draw_frame(points), box))


def test_jpeg_frames_equal_the_originals_within_its_error(archive, tmp_path):
    prepare.prepare(archive, tmp_path / "jpeg", image_format="jpeg")
    prepare.prepare(archive, tmp_path / "png", image_format="png")
    lossy, exact = (
        source.FrameSource(tmp_path / kind, "A", 64).frames(range(21))
        for kind in ("jpeg", "png")
    )
    np.testing.assert_array_equal(lossy[1], exact[1])
    error = np.abs(lossy[0].astype(int) - exact[0])
    assert 0 < error.mean() < 2.5
    # Red and blue are not exchanged: that would be an error of tens.
    assert np.abs(lossy[0][..., ::-1].astype(int) - exact[0]).mean() > 20


def test_workers_and_progress_do_not_change_the_records(archive, tmp_path):
    seen = []
    prepare.prepare(archive, tmp_path / "one")
    prepare.prepare(
        archive, tmp_path / "three", workers=3, progress=lambda *done: seen.append(done)
    )
    assert seen == [(12, 33), (21, 33), (28, 33), (33, 33)]
    for split in "ABC":
        pairs = zip(
            records_of(tmp_path / "one", split), records_of(tmp_path / "three", split)
        )
        assert all(
            a["image"] == b["image"] and a["label"] == b["label"] for a, b in pairs
        )


def test_image_size_bounds_the_longer_side_of_crops(archive, tmp_path):
    prepare.prepare(archive, tmp_path / "out", image_size=40)
    for record in records_of(tmp_path / "out", "B"):
        labels = cv2.imdecode(np.frombuffer(record["label"], np.uint8), -1)
        image = cv2.imdecode(np.frombuffer(record["image"], np.uint8), 1)
        assert max(labels.shape) == 40 and image.shape[:2] == labels.shape
        assert set(np.unique(labels)) == {0, 1, 2, 3, 4}


def test_fixed_crops_are_one_box_a_video(archive, tmp_path):
    prepare.prepare(archive, tmp_path / "out", crop="fixed")
    boxes = [tuple(record["crop"]) for record in records_of(tmp_path / "out", "A")]
    assert len(set(boxes[:12])) == 1 and len(set(boxes[12:])) == 1


def test_the_same_again_returns_at_once_and_other_settings_are_refused(
    archive, tmp_path
):
    out = tmp_path / "out"
    first = prepare.prepare(archive, out)
    written = (out / "index.json").stat().st_mtime_ns
    again = prepare.prepare(archive, out, workers=2)
    assert again.reused and again.frames == first.frames
    assert (out / "index.json").stat().st_mtime_ns == written
    message = refused(archive, out, crop="fixed")
    assert "crop per_frame and not fixed" in message
    (archive / "splits" / "C.txt").unlink()
    assert "other input files" in refused(archive, out)
    assert (out / "index.json").stat().st_mtime_ns == written


def test_a_folder_with_other_things_is_never_written_to(archive, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert "holds something that is no prepared set" in refused(archive, out)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_what_a_killed_run_left_is_no_obstacle(archive, tmp_path):
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / "junk").write_text("half")
    prepare.prepare(archive, tmp_path / "out")
    assert not left.exists()
    assert len(source.FrameSource(tmp_path / "out", "A", 32)) == 21


def test_a_run_killed_while_writing_leaves_nothing_that_looks_complete(
    archive, tmp_path
):
    program = (
        "import os, sys\nfrom jaxseg.data import prepare\n"
        "prepare.prepare(sys.argv[1], sys.argv[2], "
        "progress=lambda done, total: os._exit(9) if done > 20 else None)\n"
    )
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", program, str(archive), str(out)])
    assert done.returncode == 9
    assert not out.exists()
    with pytest.raises(UserError, match="no such folder"):
        source.FrameSource(out, "A", 32)
    assert prepare.prepare(archive, out).frames["A"] == 21


def test_a_truncated_video_is_an_error_or_left_out_and_named(archive, tmp_path):
    path = archive / "002" / "vid.avi"
    truncate(path)
    message = refused(archive, tmp_path / "out")
    assert str(path) in message and "but 9 were expected" in message
    report = prepare.prepare(archive, tmp_path / "out", on_damage="skip")
    assert report.frames == {"A": 12, "B": 7, "C": 5}
    assert [skipped.what for skipped in report.skipped] == ["002"]
    assert str(path) in report.skipped[0].why
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert str(path) in stored["skipped"][0]["why"]
    frames = source.FrameSource(tmp_path / "out", "A", 32)
    assert [video.name for video in frames.videos] == ["001"]


def test_a_bad_landmark_file_is_an_error_or_its_frame_a_hole(archive, tmp_path):
    bad = archive / "001" / "annot" / "000005.pts"
    bad.write_text(bad.read_text().replace("}", ""))
    missing = archive / "001" / "annot" / "000009.pts"
    missing.unlink()
    assert f"{bad}: line 71: no closing brace" in refused(archive, tmp_path / "out")
    report = prepare.prepare(archive, tmp_path / "out", on_damage="skip")
    assert [skipped.what for skipped in report.skipped] == [str(bad), str(missing)]
    frames = source.FrameSource(tmp_path / "out", "A", 32)
    assert frames.videos[0].numbers.tolist() == [1, 2, 3, 4, 6, 7, 8, 10, 11, 12]
    assert [tuple(run) for run in frames.runs] == [
        (0, 0, 4),
        (0, 4, 3),
        (0, 7, 3),
        (1, 10, 9),
    ]


def test_landmarks_outside_the_frame_are_named(archive, tmp_path):
    path = archive / "003" / "annot" / "000002.pts"
    drawn.write_pts(path, drawn.face_points(900, 900))
    message = refused(archive, tmp_path / "out")
    assert f"{path}: the landmarks leave no face in the frame of 96x96" in message
    report = prepare.prepare(archive, tmp_path / "out", on_damage="skip", crop="fixed")
    assert report.frames["B"] == 6


def test_more_frames_than_landmarks_are_an_error(archive, tmp_path):
    (archive / "004" / "annot" / "000005.pts").unlink()
    message = refused(archive, tmp_path / "out")
    assert "delivered 5 frames but 4 were expected" in message


def test_a_split_with_nothing_left_is_an_error(archive, tmp_path):
    truncate(archive / "003" / "vid.avi", 0.1)
    message = refused(archive, tmp_path / "out", on_damage="skip")
    assert "split B has no frame left" in message and "003" in message


def test_a_wrong_folder_is_answered_with_what_it_holds(archive, tmp_path):
    wrong = tmp_path / "elsewhere"
    wrong.mkdir()
    assert "holds nothing; expected NNN/vid.avi" in refused(wrong, tmp_path / "out")
    (wrong / "holiday.jpg").write_bytes(b"")
    assert "holds holiday.jpg; expected NNN/vid.avi" in refused(wrong, tmp_path / "out")
    assert "no such folder" in refused(wrong / "none", tmp_path / "out")
    shutil.move(archive, wrong / "300VW")
    assert f"give the folder {wrong / '300VW'}" in refused(wrong, tmp_path / "out")


def test_lists_of_the_splits_are_asked_for_and_never_invented(archive, tmp_path):
    lists = tmp_path / "lists"
    shutil.move(archive / "splits", lists)
    message = refused(archive, tmp_path / "out")
    assert "no lists of the splits" in message and "one video id per line" in message
    report = prepare.prepare(archive, tmp_path / "out", splits=lists)
    assert report.frames == {"A": 21, "B": 7, "C": 5}


def test_lists_may_not_name_what_is_not_there_or_a_video_twice(archive, tmp_path):
    (archive / "splits" / "B.txt").write_text("003\n\n999\n")
    message = refused(archive, tmp_path / "out")
    assert "B.txt: line 3: '999' is no video" in message
    assert "001, 002, 003, 004" in message
    (archive / "splits" / "B.txt").write_text("003\n002\n")
    message = refused(archive, tmp_path / "out")
    assert "B.txt: line 2: video 002 is listed already in A.txt" in message


@pytest.mark.parametrize(
    ("name", "words"),
    [("5.pts", "has the number of 000005.pts"), ("0.pts", "0.pts: number 0; expected")],
)
def test_numbers_of_landmark_files_are_unique_and_from_one(
    archive, tmp_path, name, words
):
    annotations = archive / "001" / "annot"
    shutil.copy(annotations / "000005.pts", annotations / name)
    assert words in refused(archive, tmp_path / "out")


def test_a_frame_of_the_release_is_listed_as_one_pair(tmp_path):
    folder = drawn.write_release(tmp_path / "release", RELEASE)
    listing = folder / "data_splits" / "split_2" / "A.txt"
    lines = listing.read_text()
    listing.write_text(lines + lines)
    assert prepare.prepare(folder, tmp_path / "out").frames["A"] == 7
    listing.write_text(lines + "/images_orig/001_1.jpg /labels_orig/001_1.png\n")
    message = refused(folder, tmp_path / "other")
    assert "'/images_orig/001_1.jpg /labels_orig/001_1.png' has the number" in message


def test_the_working_folder_may_be_prepared_into(archive, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    prepare.prepare(archive, ".")
    assert len(source.FrameSource(tmp_path / "out", "B", 32)) == 7


def test_one_process_prepares_a_folder_at_a_time(archive, tmp_path):
    with files.locked(tmp_path / ".out.lock", "busy"):
        assert "another run is preparing it" in refused(archive, tmp_path / "out")
    prepare.prepare(archive, tmp_path / "out")
    assert not (tmp_path / ".out.lock").exists()


def test_videos_in_no_list_are_reported(archive, tmp_path):
    (archive / "splits" / "C.txt").unlink()
    assert prepare.prepare(archive, tmp_path / "out").unlisted == ["004"]


RELEASE = {"A": {"001": [1, 2, 3, 7, 8], "007": [4, 5]}, "C": {"010": [2, 3, 4]}}


def test_the_mask_release_keeps_its_frame_numbers_and_labels(tmp_path):
    folder = drawn.write_release(tmp_path / "release", RELEASE)
    report = prepare.prepare(folder, tmp_path / "out")
    assert report.frames == {"A": 7, "C": 3}
    frames = source.FrameSource(tmp_path / "out", "A", drawn.SIZE)
    assert [video.name for video in frames.videos] == ["001", "007"]
    assert [tuple(run) for run in frames.runs] == [(0, 0, 3), (0, 3, 2), (1, 5, 2)]
    assert frames.locate(3) == ("001", 7)
    images, labels = frames.frames([3])
    points = drawn.path_points(0, 8)[6]
    expected = landmarks.label_map(points, drawn.SIZE, drawn.SIZE)
    np.testing.assert_array_equal(labels[0], expected)
    assert np.abs(images[0].astype(int) - drawn.draw_frame(points)).mean() < 4
    original = (folder / "images_orig" / "001_000007.jpg").read_bytes()
    assert records_of(tmp_path / "out", "A")[3]["image"] == original


def recode_labels(folder, change):
    for path in (folder / "labels_orig").glob("*.png"):
        cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


def test_other_label_ids_are_an_error_until_they_are_mapped(tmp_path):
    folder = drawn.write_release(tmp_path / "release", RELEASE)
    prepare.prepare(folder, tmp_path / "plain")
    recode_labels(folder, lambda labels: 10 * labels)
    message = refused(folder, tmp_path / "out")
    assert "001_000001.png: label value 10 has no class" in message
    ids = {0: 0, 10: 1, 20: 2, 30: 3, 40: 4}
    prepare.prepare(folder, tmp_path / "out", label_ids=ids)
    np.testing.assert_array_equal(
        source.FrameSource(tmp_path / "out", "A", 96).frames(range(7))[1],
        source.FrameSource(tmp_path / "plain", "A", 96).frames(range(7))[1],
    )


def test_label_pictures_in_the_colours_of_the_scripts_are_read(tmp_path):
    folder = drawn.write_release(tmp_path / "release", RELEASE)
    prepare.prepare(folder, tmp_path / "plain")
    colours = np.array(
        [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255]]
    )
    recode_labels(folder, lambda labels: colours[labels][..., ::-1].astype(np.uint8))
    prepare.prepare(folder, tmp_path / "out")
    np.testing.assert_array_equal(
        source.FrameSource(tmp_path / "out", "A", 96).frames(range(7))[1],
        source.FrameSource(tmp_path / "plain", "A", 96).frames(range(7))[1],
    )


@pytest.mark.parametrize(
    "name", ["images_orig/001_000002.jpg", "labels_orig/001_000002.png"]
)
def test_a_cut_or_missing_picture_is_an_error_or_a_hole(tmp_path, name):
    folder = drawn.write_release(tmp_path / "release", RELEASE)
    truncate(folder / name, 0.7)
    assert str(folder / name) in refused(folder, tmp_path / "out")
    (folder / name).unlink()
    assert f"{folder / name}: No such file" in refused(folder, tmp_path / "out")
    report = prepare.prepare(folder, tmp_path / "out", on_damage="skip")
    assert len(report.skipped) == 1 and str(folder / name) in report.skipped[0].why
    frames = source.FrameSource(tmp_path / "out", "A", 32)
    assert frames.videos[0].numbers.tolist() == [1, 3, 7, 8]


def test_a_line_of_a_list_must_pair_two_files_of_the_folder(tmp_path):
    folder = drawn.write_release(tmp_path / "release", RELEASE)
    listing = folder / "data_splits" / "split_2" / "A.txt"
    listing.write_text("/images_orig/001_000001.jpg /../secret/001_000001.png\n")
    assert "line 1: '/../secret/001_000001.png' leads out" in refused(
        folder, tmp_path / "out"
    )
    for line in (
        "/images_orig/001_000001.jpg",
        "/images_orig/001_000001.jpg /labels_orig/001_000002.png",
        "/images_orig/x.jpg /labels_orig/x.png",
    ):
        listing.write_text(line + "\n")
        assert f"line 1: {line!r}; expected lines" in refused(folder, tmp_path / "out")


def test_a_full_disk_is_told_and_leaves_nothing(archive, tmp_path, monkeypatch):
    def fail(self, **_):
        raise RuntimeError("write() failed: No space left on device")

    monkeypatch.setattr(vw300.Vw300, "download_and_prepare", fail)
    assert "No space left on device" in refused(archive, tmp_path / "out")


def test_an_error_of_the_program_is_not_told_as_one_of_the_disk(
    archive, tmp_path, monkeypatch
):
    def fail(self, **_):
        raise RuntimeError("generator raised StopIteration")

    monkeypatch.setattr(vw300.Vw300, "download_and_prepare", fail)
    with pytest.raises(RuntimeError, match="StopIteration"):
        prepare.prepare(archive, tmp_path / "out")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"crop": "tight"}, "crop is 'tight'"),
        ({"on_damage": "ignore"}, "on_damage is 'ignore'"),
        ({"image_size": 0}, "image_size is 0"),
        ({"jpeg_quality": 0}, "jpeg_quality is 0"),
        ({"layout": "vspw"}, "layout is 'vspw'"),
        ({"label_ids": {0: 9}}, "label_ids maps 0 to 9"),
    ],
)
def test_bad_settings_are_refused(archive, tmp_path, option, words):
    assert words in refused(archive, tmp_path / "out", **option)


def test_tensorflow_and_jax_are_never_imported(archive, tmp_path):
    program = (
        "import sys\nfrom jaxseg.data import prepare, source\n"
        "prepare.prepare(sys.argv[1], sys.argv[2], workers=2)\n"
        "frames = source.FrameSource(sys.argv[2], 'A', 32)\n"
        "assert frames.frames([0, 20])[0].shape == (2, 32, 32, 3)\n"
        "print([name for name in ('tensorflow', 'jax') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(archive), str(tmp_path / "out")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[]\n", done.stderr


def test_a_split_of_more_than_one_shard_keeps_its_order(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxseg.data.book._SHARD_FRAMES", 10)
    prepare.prepare(archive, tmp_path / "out", image_format="png")
    assert len(list((tmp_path / "out").rglob("*-A.array_record*"))) == 2
    frames = source.FrameSource(tmp_path / "out", "A", 32)
    assert [int(record["frame"]) for record in records_of(tmp_path / "out", "A")] == [
        *range(1, 13),
        *range(1, 10),
    ]
    assert frames.locate(12) == ("002", 1)
