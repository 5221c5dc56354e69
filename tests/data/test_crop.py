import numpy as np
import pytest

from jaxseg.data import crop


def landmarks_within(left, top, right, bottom):
    """Return 68 points whose bounding box is the given one."""
    points = np.full((68, 2), ((left + right) / 2, (top + bottom) / 2))
    points[0], points[1] = (left, top), (right, bottom)
    return points


def test_halves_round_away_from_zero():
    values = np.array([0.5, 1.5, 2.5, -0.5, -2.5, 0.49999999999999994, 3.0])
    expected = [1, 2, 3, -1, -3, 0, 3]
    np.testing.assert_array_equal(crop.round_half_away(values), expected)


def test_the_box_has_half_side_065_times_width_plus_height_over_2():
    # Width 40, height 60: centre (120, 130), half side round(1.3 * 50 / 2) = 33.
    box = crop.crop_box(landmarks_within(100, 100, 140, 160), 480, 640)
    assert box.tolist() == [87, 97, 153, 163]
    assert box.dtype == np.int32


def test_the_box_is_clamped_to_the_image():
    box = crop.crop_box(landmarks_within(-10, 3, 30, 63), 50, 40)
    assert box.tolist() == [1, 1, 40, 50]


def test_a_face_outside_the_image_leaves_no_box():
    left, top, right, bottom = crop.crop_box(
        landmarks_within(900, 9, 940, 69), 480, 640
    )
    assert right < left


def test_a_cut_holds_both_corners():
    image = np.arange(48).reshape(6, 8)
    np.testing.assert_array_equal(
        crop.cut(image, np.array([2, 3, 4, 3])), image[2:3, 1:4]
    )


def jittering(frames=60):
    rng = np.random.default_rng(0)
    shifts = rng.integers(-3, 4, (frames, 2))
    return np.stack(
        [landmarks_within(200 + x, 150 + y, 260 + x, 220 + y) for x, y in shifts]
    )


def test_per_frame_boxes_are_those_of_each_frame():
    points = jittering()
    boxes = crop.crop_boxes(points, np.arange(1, 61), 480, 640, "per_frame")
    alone = [crop.crop_box(frame, 480, 640) for frame in points]
    np.testing.assert_array_equal(boxes, alone)


def test_smoothed_boxes_are_the_mean_of_15_frames():
    points = jittering()
    boxes = crop.crop_boxes(points, np.arange(1, 61), 480, 640, "smoothed")
    squares = np.array([crop.face_square(frame) for frame in points])
    centre_x, _, half = crop.round_half_away(squares[23:38].mean(axis=0))
    assert boxes[30, 0] == centre_x - half and boxes[30, 2] == centre_x + half
    still = np.abs(np.diff(boxes[:, 0])).mean()
    plain = crop.crop_boxes(points, np.arange(1, 61), 480, 640)
    assert still < np.abs(np.diff(plain[:, 0])).mean() / 3


def test_smoothing_stops_where_frames_are_missing():
    points = jittering()
    points[30:] += 100
    numbers = np.r_[1:31, 41:71]
    boxes = crop.crop_boxes(points, numbers, 480, 640, "smoothed")
    first = crop.crop_boxes(points[:30], numbers[:30], 480, 640, "smoothed")
    last = crop.crop_boxes(points[30:], numbers[30:], 480, 640, "smoothed")
    np.testing.assert_array_equal(boxes, np.concatenate([first, last]))


def test_the_fixed_box_has_the_median_centre_and_the_largest_half_side():
    points = np.stack(
        [
            landmarks_within(100, 100, 140, 160),  # half side 33, centre (120, 130)
            landmarks_within(110, 100, 150, 160),
            landmarks_within(90, 90, 190, 170),  # half side 59, centre (140, 130)
        ]
    )
    boxes = crop.crop_boxes(points, np.array([1, 2, 3]), 480, 640, "fixed")
    np.testing.assert_array_equal(boxes, [[130 - 59, 130 - 59, 130 + 59, 130 + 59]] * 3)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="per_frame, smoothed, fixed"):
        crop.crop_boxes(jittering(), np.arange(60), 480, 640, "steady")
