import os
import subprocess
import sys

import numpy as np
import pytest

from jaxseg.data import video
from jaxseg.errors import UserError
from tests.data import drawn


@pytest.fixture
def clip(tmp_path):
    """A clip of 30 frames, MJPG, and the frames that went into it."""
    frames = [drawn.draw_frame(points) for points in drawn.path_points(0, 30)]
    drawn.write_video(tmp_path / "vid.avi", frames)
    return tmp_path / "vid.avi", frames


def test_frames_come_in_order_and_in_rgb(tmp_path):
    frames = [drawn.draw_frame(points) for points in drawn.path_points(0, 6)]
    drawn.write_video(tmp_path / "vid.avi", frames, "FFV1")  # lossless
    read = np.stack(list(video.read_video(tmp_path / "vid.avi", expected=6)))
    np.testing.assert_array_equal(read, frames)


@pytest.mark.parametrize("expected", [29, 31])
def test_another_number_than_expected_is_an_error(clip, expected):
    path, _ = clip
    with pytest.raises(UserError) as caught:
        list(video.read_video(path, expected=expected))
    assert str(path) in str(caught.value)
    assert f"delivered 30 frames but {expected} were expected" in str(caught.value)


@pytest.mark.parametrize("expected", [30, None])
def test_a_cut_file_is_an_error_after_its_last_frame(clip, expected):
    path, frames = clip
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    read = []
    with pytest.raises(UserError, match="delivered [0-9]+ frames but") as caught:
        for frame in video.read_video(path, expected):
            read.append(frame)
    assert 5 < len(read) < 25
    assert f"delivered {len(read)} frames" in str(caught.value)
    assert "30" in str(caught.value)
    assert np.abs(read[0].astype(int) - frames[0]).mean() < 4


def test_one_frame_less_than_declared_is_an_error_in_an_avi_alone(
    clip, tmp_path, monkeypatch
):
    path, _ = clip

    class _Capture:
        def __init__(self, capture):
            self._capture = capture

        def get(self, _):
            return 31

        def __getattr__(self, name):
            return getattr(self._capture, name)

    opened = video._open
    monkeypatch.setattr(video, "_open", lambda *at: _Capture(opened(*at)))
    with pytest.raises(UserError, match="30 frames but its header declares 31"):
        list(video.read_video(path))
    path = path.rename(tmp_path / "vid.mkv")
    assert len(list(video.read_video(path))) == 30


def test_bytes_lost_within_are_an_error(clip):
    path, _ = clip
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    path.write_bytes(data)
    with pytest.raises(UserError, match="but 30 were expected"):
        list(video.read_video(path, expected=30))


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_what_is_no_video_is_an_error(tmp_path, content):
    path = tmp_path / "vid.avi"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        list(video.read_video(path, expected=12))
    assert f"{path}: not readable as video ({len(content)} bytes)" in str(caught.value)
    assert "delivered 0 frames of the 12 expected" in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        list(video.read_video(tmp_path / "vid.avi"))


def test_an_opencv_without_its_system_library_says_what_to_install(tmp_path):
    (tmp_path / "cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file')\n"
    )
    program = (
        "from jaxseg.errors import UserError\n"
        "try:\n    import jaxseg.data.opencv\n"
        "except UserError as error:\n    print(error)\n"
    )
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert "libGL.so.1" in done.stdout
    assert "pip install opencv-python-headless" in done.stdout
