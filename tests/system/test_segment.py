import json

import cv2
import numpy as np
import pytest

from jaxseg.data import video


def segment(jaxseg, demo, source, out, *more):
    return jaxseg("segment", source, out, "--run", demo / "eta06", *more)


@pytest.fixture
def source(demo):
    return sorted((demo / "videos").glob("*/vid.avi"))[-1]


def test_log_agrees_with_itself(demo, source, tmp_path, jaxseg):
    code, out, _ = segment(jaxseg, demo, source, tmp_path / "o.mp4", "--tau", "0.02")
    assert code == 0 and str(tmp_path / "o.jsonl") in out
    lines = [json.loads(x) for x in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(16))
    first, *rest = lines
    assert first["key"] and first["probability"] is None and first["kar"] is None
    keys, last = [], 0
    for line in rest:
        assert line["lkd"] == line["frame"] - last
        # The smoke policy's window is 6 decisions.
        assert line["kar"] == pytest.approx(sum(keys[-6:]) / 6)
        assert line["key"] == (line["probability"] > 0.02)
        assert line["milliseconds"] > 0
        keys.append(line["key"])
        last = line["frame"] if line["key"] else last
    assert len(list(video.read_video(tmp_path / "o.mp4"))) == 16


def test_sampling_repeats_with_its_seed(demo, source, tmp_path, jaxseg):
    logs = []
    for name, seed in (("a", 1), ("b", 1)):
        segment(jaxseg, demo, source, tmp_path / f"{name}.avi", "--seed", seed)
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        logs.append([{**json.loads(x), "milliseconds": 0} for x in lines])
    assert logs[0] == logs[1]


def test_bad_videos_and_boxes_write_nothing(demo, source, tmp_path, jaxseg):
    (tmp_path / "noise.avi").write_bytes(b"this is no video" * 100)
    (tmp_path / "empty.avi").write_bytes(b"")
    cut = tmp_path / "cut.avi"
    data = source.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    cases = [
        ((tmp_path / "none.avi",), "none.avi: no such file"),
        ((tmp_path / "noise.avi",), "noise.avi"),
        ((tmp_path / "empty.avi",), "empty.avi"),
        ((cut,), "cut.avi"),
        ((source, "--box", "1,2,3"), "four whole numbers"),
        ((source, "--box", "50,50,60,60"), "does not lie inside"),
    ]
    for (path, *more), phrase in cases:
        code, _, err = segment(jaxseg, demo, path, tmp_path / "out.mp4", *more)
        assert code == 2 and phrase in err and err.count("error:") == 1, err
    code, _, err = segment(jaxseg, demo, source, tmp_path / "out.gif")
    assert code == 2 and ".mp4, .avi, .webm" in err
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"noise.avi", "empty.avi", "cut.avi"}


def test_odd_sizes_are_fine(demo, tmp_path, jaxseg):
    path = str(tmp_path / "odd.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 25, (101, 83))
    for shade in range(5):
        writer.write(np.full((83, 101, 3), 40 * shade, np.uint8))
    writer.release()
    code, _, err = segment(jaxseg, demo, path, tmp_path / "o.mp4", "--box", "3,5,71,77")
    assert code == 0, err
    assert len(list(video.read_video(tmp_path / "o.mp4"))) == 5
