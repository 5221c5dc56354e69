"""Cityscapes: label ids, snippets, what is refused or left out, and what is read."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from jaxseg.data import cityscapes, classes, png, prepare, sampling, source
from jaxseg.errors import UserError
from tests.data import street

SHORT, LONG, NEXT = (
    "aachen_000000_000019",
    "hamburg_000000_000294",
    "hamburg_000000_000324",
)
VAL = "lindau_000001_000019"
PLACES = {"train": [SHORT, LONG, NEXT], "val": [VAL]}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Archives with three snippets of train, two of one drive, and one of val."""
    return street.write(tmp_path_factory.mktemp("street") / "cityscapes", PLACES)


@pytest.fixture(scope="module")
def prepared(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "out"
    prepare.prepare(root, out, workers=2)
    return out


@pytest.fixture
def fresh(tmp_path):
    """The same archives, but to be damaged."""
    return street.write(tmp_path / "cityscapes", PLACES)


def refused(folder, out, **options):
    with pytest.raises(UserError) as caught:
        prepare.prepare(folder, out, **options)
    assert not out.exists() and "\n" not in str(caught.value)
    return str(caught.value)


# The labels.


def test_the_ids_that_are_trained_on_keep_their_order():
    """The classes by category, as the Cityscapes benchmark counts its 19."""
    wanted = {
        "flat": {"road": 7, "sidewalk": 8},
        "construction": {"building": 11, "wall": 12, "fence": 13},
        "object": {"pole": 17, "traffic light": 19, "traffic sign": 20},
        "nature": {"vegetation": 21, "terrain": 22},
        "sky": {"sky": 23},
        "human": {"person": 24, "rider": 25},
        "vehicle": {"car": 26, "truck": 27, "bus": 28, "train": 31}
        | {"motorcycle": 32, "bicycle": 33},
    }
    flat = {name: i for group in wanted.values() for name, i in group.items()}
    assert cityscapes.NAMES == tuple(flat) and len(flat) == 19
    table = cityscapes.lookup()
    assert [int(table[i]) for i in flat.values()] == list(range(19))
    rest = set(range(34)) - set(flat.values())
    assert rest == {*range(7), 9, 10, 14, 15, 16, 18, 29, 30}
    assert {int(table[i]) for i in rest} == {255} and table[255] == 255
    assert (table[34:255] == classes.UNKNOWN).all()


def test_colours_are_the_benchmarks_and_all_different():
    palette = dict(zip(cityscapes.NAMES, cityscapes.PALETTE.tolist()))
    assert palette["road"] == [128, 64, 128] and palette["sky"] == [70, 130, 180]
    assert palette["car"] == [0, 0, 142] and palette["bicycle"] == [119, 11, 32]
    assert len({tuple(colour) for colour in palette.values()}) == 19
    painted = classes.colour(np.array([[13, 255]], np.uint8), cityscapes.PALETTE)
    assert painted.tolist() == [[[0, 0, 142], [255, 255, 255]]]


# Snippets.


def test_a_snippet_is_19_frames_before_the_annotated_one_and_10_after(prepared):
    frames = source.FrameSource(prepared, "train", street.SIZE)
    assert [video.name for video in frames.videos] == [SHORT, LONG, NEXT]
    numbers = [video.numbers.tolist() for video in frames.videos]
    assert numbers[0] == list(range(30))
    assert numbers[1] == list(range(275, 305))
    assert numbers[2] == list(range(305, 335))
    # The last two follow one another, and are two snippets still.
    assert [tuple(run) for run in frames.runs] == [(0, 0, 30), (1, 30, 30), (2, 60, 30)]
    assert frames.locate(30) == (LONG, 275) and frames.locate(49) == (LONG, 294)
    with pytest.raises(IndexError, match="crosses the end of its run at 59"):
        frames.clip(31, 30)


def test_the_20th_frame_has_labels_and_all_others_are_to_be_ignored(prepared):
    frames = source.FrameSource(prepared, "train", street.SIZE)
    assert frames.labelled.tolist() == [19, 49, 79]
    assert frames.classes == cityscapes.NAMES
    images, labels = frames.clip(30, 30)
    table = cityscapes.lookup()
    np.testing.assert_array_equal(labels[19], table[street.label_ids(294)])
    assert set(np.unique(labels[19])) == {0, 10, 13, 255}
    assert (np.delete(labels, 19, axis=0) == 255).all()
    for image, number in zip(images, range(275, 305)):
        np.testing.assert_array_equal(image, street.frame(number))


def test_sets_a_and_b_are_train_and_val(prepared):
    for name, split, frames in (("A", "train", 90), ("B", "val", 30)):
        found = source.FrameSource(prepared, name, street.SIZE)
        assert (found.split, len(found)) == (split, frames)
    with pytest.raises(UserError, match="no split 'C'; expected one of train, val"):
        source.FrameSource(prepared, "C", street.SIZE)


def write_lists(folder, **lists):
    folder.mkdir()
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_lists_of_cities_or_frames_make_other_sets(root, tmp_path):
    """Part of train may be held out, so that val is seen at the end alone."""
    lists = write_lists(
        tmp_path / "lists", A=["train/aachen"], B=[f"train/{LONG}"], C=["val/lindau"]
    )
    report = prepare.prepare(root, tmp_path / "out", splits=lists)
    assert report.frames == {"A": 30, "B": 30, "C": 30}
    assert report.unlisted == ["train/hamburg (1)"]
    for split, name in (("A", SHORT), ("B", LONG), ("C", VAL)):
        frames = source.FrameSource(tmp_path / "out", split, street.SIZE)
        assert [video.name for video in frames.videos] == [name]
    assert prepare.prepare(root, tmp_path / "out", splits=lists).reused
    with pytest.raises(UserError, match="other input files"):
        prepare.prepare(root, tmp_path / "out")


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({"A": ["train/berlin"]}, "A.txt: line 1: 'train/berlin' is no city and no"),
        (
            {"A": ["train/aachen"], "B": ["val/lindau", f"train/{SHORT}"]},
            f"B.txt: line 2: {SHORT} is listed already in A.txt",
        ),
        ({}, "no lists of the splits"),
    ],
)
def test_mistakes_in_lists_are_named(root, tmp_path, lists, words):
    folder = write_lists(tmp_path / "lists", **lists)
    assert words in refused(root, tmp_path / "out", splits=folder)


def test_annotated_frames_alone_need_no_sequences(tmp_path):
    root = street.write(tmp_path / "cityscapes", PLACES, snippets=False)
    report = prepare.prepare(root, tmp_path / "out")
    assert report.frames == {"train": 3, "val": 1} == report.videos
    frames = source.FrameSource(tmp_path / "out", "A", street.SIZE)
    assert frames.labelled.tolist() == [0, 1, 2]
    images, labels = frames.frames([1])
    np.testing.assert_array_equal(images[0], street.frame(294))
    assert (labels != 255).any()
    with pytest.raises(UserError, match="at most 0 consecutive ones before"):
        sampling.pair_indices(frames, 0, 0, 4)


def test_sequences_alone_are_enough(tmp_path):
    root = street.write(tmp_path / "cityscapes", {"val": [VAL]}, singles=False)
    assert prepare.prepare(root, tmp_path / "out").frames == {"val": 30}


def test_maps_without_any_class_count_as_no_labels(tmp_path):
    """As those of the test set, whose annotations are not public."""
    places = {"train": [SHORT], "val": [VAL], "test": ["berlin_000000_000019"]}
    root = street.write(tmp_path / "cityscapes", places, snippets=False)
    empty = np.full(street.SIZE, 3, np.uint8)
    street.write_png(street.path(root, "gtFine", "test", places["test"][0]), empty)
    prepare.prepare(root, tmp_path / "out")
    frames = source.FrameSource(tmp_path / "out", "test", street.SIZE)
    assert len(frames) == 1 and len(frames.labelled) == 0
    assert (frames.frames([0])[1] == 255).all()
    with pytest.raises(UserError, match="split test: none of its 1 frames has labels"):
        sampling.frame_indices(frames, 0, 0, 4)


def test_drawn_frames_and_pairs_end_at_labels(prepared):
    frames = source.FrameSource(prepared, "train", street.SIZE)
    drawn = [sampling.frame_indices(frames, 0, step, 50) for step in range(4)]
    assert set(np.concatenate(drawn).tolist()) == {19, 49, 79}
    pairs = np.concatenate(
        [sampling.pair_indices(frames, 0, step, 100, 9, 0) for step in range(10)]
    )
    assert set(pairs[:, 1].tolist()) == {19, 49, 79}
    gaps = np.bincount(pairs[:, 1] - pairs[:, 0])
    assert len(gaps) == 10 and gaps.min() > 60
    far = sampling.pair_indices(frames, 0, 0, 500, 30)
    assert (far[:, 1] - far[:, 0]).max() == 19  # a snippet has no more before it


# Sizes.


def test_frames_that_fit_keep_their_pixels_and_are_padded(prepared):
    frames = source.FrameSource(prepared, "A", (65, 129))
    images, labels = frames.frames([19])
    np.testing.assert_array_equal(images[0, :64, :128], street.frame(19))
    edges = np.concatenate([images[0, 64], images[0, :, 128]])
    assert (edges == 127).all()
    assert (labels[0, 64] == 255).all() and (labels[0, :, 128] == 255).all()
    table = cityscapes.lookup()
    np.testing.assert_array_equal(labels[0, :64, :128], table[street.label_ids(19)])
    other = frames.padded((124, 116, 104))
    assert other.frames([19])[0][0, 64, 5].tolist() == [124, 116, 104]
    assert frames.frames([19])[0][0, 64, 5].tolist() == [127, 127, 127]


def test_frames_larger_than_the_size_are_resized(prepared):
    images, labels = source.FrameSource(prepared, "A", (32, 64)).frames([19])
    whole = street.frame(19)
    np.testing.assert_array_equal(
        images[0], cv2.resize(whole, (64, 32), interpolation=cv2.INTER_AREA)
    )
    assert set(np.unique(labels)) == {0, 10, 13, 255}


def test_the_cache_keeps_the_colour_apart(prepared):
    frames = source.FrameSource(prepared, "B", (65, 129), cache=True)
    red = frames.padded((255, 0, 0))
    for _ in range(2):
        assert frames.frames([19])[0][0, 64, 0].tolist() == [127, 127, 127]
        assert red.frames([19])[0][0, 64, 0].tolist() == [255, 0, 0]


def test_each_gives_frames_at_their_own_size_in_order(prepared):
    frames = source.FrameSource(prepared, "A", (32, 32))
    found = frames.each([79, 3, 19], lambda *example: example)
    assert [place for place, _, _ in found] == [0, 1, 2]
    for (_, image, label), number in zip(found, (324, 3, 19)):
        np.testing.assert_array_equal(image, street.frame(number))
        assert label.shape == street.SIZE and (label == 255).all() == (number == 3)


# What is not as it should be.


def test_two_broken_snippets_and_a_good_one(fresh, tmp_path):
    hole = street.path(fresh, "leftImg8bit_sequence", "train", "aachen_000000_000007")
    hole.unlink()
    cut = street.path(fresh, "leftImg8bit_sequence", "train", "hamburg_000000_000300")
    cut.write_bytes(cut.read_bytes()[:-20])
    message = refused(fresh, tmp_path / "out")
    assert str(hole) in message and "lacks 1 of its 30 frames" in message
    report = prepare.prepare(fresh, tmp_path / "out", on_damage="skip")
    assert report.frames == {"train": 30, "val": 30}
    assert [skipped.what for skipped in report.skipped] == [SHORT, LONG]
    assert str(hole) in report.skipped[0].why
    assert f"{cut}: a PNG that was cut short" in report.skipped[1].why
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [entry["what"] for entry in stored["skipped"]] == [SHORT, LONG]
    frames = source.FrameSource(tmp_path / "out", "A", street.SIZE)
    assert [video.name for video in frames.videos] == [NEXT]
    np.testing.assert_array_equal(frames.images([0])[0], street.frame(305))


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 8
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("part", "damage", "words"),
    [
        ("leftImg8bit_sequence", flip_a_bit, "a PNG with damage behind byte"),
        ("leftImg8bit_sequence", lambda p: p.write_bytes(b""), "an empty file"),
        ("leftImg8bit_sequence", lambda p: p.write_bytes(b"GIF89a" * 9), "no PNG"),
        (
            "leftImg8bit_sequence",
            lambda p: street.write_png(p, street.frame(0, (64, 120))),
            "120x64 pixels; expected 128x64 as most label maps have",
        ),
        (
            "leftImg8bit_sequence",
            lambda p: street.write_png(p, np.zeros(street.SIZE, np.uint8)),
            "PNG of 8 bits and colour type 0; expected 8 bits, RGB",
        ),
        ("gtFine", lambda p: p.unlink(), "No such file"),
        ("gtFine", flip_a_bit, "a PNG with damage behind byte"),
        (
            "gtFine",
            lambda p: street.write_png(p, np.full(street.SIZE, 34, np.uint8)),
            "value 34 is no label id; expected 0 to 33",
        ),
        (
            "gtFine",
            lambda p: street.write_png(p, street.frame(0)),
            "colour type 2; expected 8 bits, grey",
        ),
        (
            "gtFine",
            lambda p: street.write_png(p, np.zeros((32, 64), np.uint8)),
            "64x32 pixels; expected 128x64",
        ),
    ],
)
def test_damage_is_named_with_its_remedy(fresh, tmp_path, part, damage, words):
    path = street.path(fresh, part, "train", SHORT)
    damage(path)
    message = refused(fresh, tmp_path / "out")
    assert message.startswith(f"{path}: ") and words in message
    assert "restore the file or leave its snippet out (on_damage='skip')" in message
    report = prepare.prepare(fresh, tmp_path / "out", on_damage="skip")
    assert [skipped.what for skipped in report.skipped] == [SHORT]


def test_the_ends_alone_show_cuts_and_not_damage(fresh, tmp_path):
    flip_a_bit(street.path(fresh, "leftImg8bit_sequence", "train", SHORT))
    prepare.prepare(fresh, tmp_path / "ends", verify="ends")
    path = street.path(fresh, "leftImg8bit_sequence", "val", VAL)
    path.write_bytes(path.read_bytes()[:-1])
    assert "cut short" in refused(fresh, tmp_path / "out", verify="ends")


def test_a_snippet_that_would_begin_before_0_is_named(tmp_path):
    root = street.write(tmp_path / "c", {"val": [VAL]})
    early = "lindau_000002_000012"
    street.write(root, {"val": [early]}, snippets=False)
    assert "frame 12; expected 19 or more" in refused(root, tmp_path / "out")
    report = prepare.prepare(root, tmp_path / "out", on_damage="skip")
    assert [skipped.what for skipped in report.skipped] == [early]


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (["gtFine"], "unpack gtFine_trainvaltest.zip there"),
        (
            ["leftImg8bit", "leftImg8bit_sequence"],
            "unpack leftImg8bit_trainvaltest.zip (annotated frames) or "
            "leftImg8bit_sequence_trainvaltest.zip",
        ),
        (["leftImg8bit/val", "leftImg8bit_sequence/val"], "gtFine/val has annotations"),
    ],
)
def test_a_missing_archive_is_named(fresh, tmp_path, missing, words):
    for part in missing:
        shutil.rmtree(fresh / part)
    assert words in refused(fresh, tmp_path / "out")


def test_a_split_without_annotations_is_left_out_and_named(fresh, tmp_path):
    shutil.rmtree(fresh / "gtFine" / "val")
    report = prepare.prepare(fresh, tmp_path / "out")
    assert list(report.frames) == ["train"] and report.unlisted == ["val"]


def test_the_folder_above_is_told_from_the_right_one(fresh, tmp_path):
    message = refused(tmp_path, tmp_path / "out")
    assert f"give the folder {fresh}" in message


@pytest.mark.parametrize(
    "option",
    [
        {"crop": "fixed"},
        {"label_ids": {0: 0}},
        {"image_size": 64},
        {"image_format": "png"},
        {"jpeg_quality": 50},
        {"verify": "no"},
    ],
)
def test_what_does_not_apply_is_refused(root, tmp_path, option):
    (name,) = option
    assert name in refused(root, tmp_path / "out", **option)


# Once more, later, elsewhere.


def test_an_interrupted_check_goes_on_where_it_was(fresh, tmp_path, monkeypatch):
    program = (
        "import os, sys\nfrom jaxseg.data import prepare\n"
        "prepare.prepare(sys.argv[1], sys.argv[2], "
        "progress=lambda done, total: os._exit(9) if done >= 60 else None)\n"
    )
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", program, str(fresh), str(out)])
    assert done.returncode == 9 and not out.exists()
    # Of what was checked, one snippet is exchanged.
    changed = street.path(fresh, "leftImg8bit_sequence", "train", LONG)
    street.write_png(changed, street.frame(1))
    read, real = [], png.check

    def check(path, whole=True, *more):
        if whole:
            read.append(path)
        return real(path, whole, *more)

    monkeypatch.setattr(png, "check", check)
    report = prepare.prepare(fresh, out)
    assert report.frames == {"train": 90, "val": 30}
    snippets = {path.parts[-2:] for path in read}
    assert not [name for _, name in snippets if name.startswith("aachen")]
    assert ("hamburg", changed.name) in snippets
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cityscapes", "out"]


def test_the_same_again_returns_at_once_and_finds_moved_frames(fresh, tmp_path):
    out = tmp_path / "out"
    prepare.prepare(fresh, out)
    index = (out / "index.json").read_bytes()
    assert prepare.prepare(fresh, out).reused
    moved = tmp_path / "elsewhere"
    fresh.rename(moved)
    with pytest.raises(UserError, match="no such folder.*prepare NEW_PLACE"):
        source.FrameSource(out, "A", street.SIZE)
    assert prepare.prepare(moved, out).reused
    assert (out / "index.json").read_bytes() == index
    frames = source.FrameSource(out, "A", street.SIZE)
    np.testing.assert_array_equal(frames.images([0])[0], street.frame(0))
    with pytest.raises(UserError, match="verify whole and not ends"):
        prepare.prepare(moved, out, verify="ends")


@pytest.mark.parametrize("part", ["leftImg8bit_sequence", "gtFine"])
def test_a_file_damaged_later_is_named(fresh, tmp_path, part):
    prepare.prepare(fresh, tmp_path / "out")
    path = street.path(fresh, part, "train", SHORT)
    frames = source.FrameSource(tmp_path / "out", "A", street.SIZE)
    for content, words in ((b"", "0 bytes"), (b"x" * 99, "99 bytes that do not")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=words) as caught:
            frames.frames([19])
        assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match="No such file"):
        frames.each([19], lambda *example: None)


def test_a_prepared_folder_whose_place_was_lost_says_so(root, tmp_path):
    prepare.prepare(root, tmp_path / "out", verify="ends")
    (tmp_path / "out" / "archive.json").write_text("[]")
    with pytest.raises(UserError, match="archive.json: does not say where"):
        source.FrameSource(tmp_path / "out", "A", street.SIZE)
