import json

import numpy as np
import pytest

from jaxseg.data import crop, landmarks, pts
from tests.data import drawn

# Landmark files of the parity case, by the names of its images.
FILES = {
    "takeo": "takeo",
    "einstein": "einstein",
    "breakingbad": "breakingbad",
    "sd_image_0001": "lfpw_image_0001",
    "sd_image_0002": "lfpw_image_0002",
    "sd_image_0003": "lfpw_image_0003",
}


@pytest.fixture(params=FILES)
def face(request, shared):
    """One face of the parity case: landmarks read by us, and what the peer computed."""
    manifest = json.loads(shared("parity/facemask68/manifest.json").read_text())
    outputs = np.load(shared("parity/facemask68/outputs.npz"))
    points = pts.read_pts(shared(f"realdata/landmarks/{FILES[request.param]}.pts"))
    peer = {
        name: outputs[f"{request.param}/{name}"]
        for name in ("points", "curves", "mask")
    }
    return points, manifest["images"][request.param], peer


def test_curves_equal_those_of_the_label_scripts(face):
    points, _, peer = face
    np.testing.assert_allclose(points, peer["points"], atol=1e-6, rtol=0)
    curves = [curve[::20] for curve in landmarks.outlines(points).values()]
    np.testing.assert_allclose(
        np.concatenate(curves), peer["curves"], atol=1e-6, rtol=0
    )


def test_label_maps_equal_those_of_the_label_scripts(face):
    points, image, peer = face
    labels = landmarks.label_map(points, *image["frame_hw"])
    box = crop.crop_box(points, *image["frame_hw"])
    assert (crop.cut(labels, box) != peer["mask"]).mean() <= 0.002
    counts = np.bincount(labels.ravel(), minlength=5)
    allowed = 0.002 * peer["mask"].size
    assert np.abs(counts - image["class_pixels"]).max() <= allowed


def test_crop_boxes_equal_those_of_the_label_scripts(face):
    points, image, _ = face
    assert (
        crop.crop_box(points, *image["frame_hw"]).tolist()
        == (image["crop_xyxy_1based"])
    )


def test_drawing_in_the_crop_equals_cropping_the_drawing(face):
    points, image, _ = face
    box = crop.crop_box(points, *image["frame_hw"])
    whole = crop.cut(landmarks.label_map(points, *image["frame_hw"]), box)
    alone = landmarks.label_map(points - (box[:2] - 1), *whole.shape)
    np.testing.assert_array_equal(alone, whole)


def filled(outline, height, width):
    labels = np.zeros((height, width), np.uint8)
    landmarks.fill(labels, np.array(outline, float), 1)
    return labels


def test_a_rectangle_holds_the_centres_within_and_on_its_sides():
    expected = np.zeros((7, 9), np.uint8)
    expected[1:5, 2:8] = 1  # rows 2..5 and columns 3..8, counted from 1
    np.testing.assert_array_equal(
        filled([(3, 2), (8, 2), (8, 5), (3, 5)], 7, 9), expected
    )
    just_larger = [(2.01, 1.01), (8.99, 1.01), (8.99, 5.99), (2.01, 5.99)]
    np.testing.assert_array_equal(filled(just_larger, 7, 9), expected)


def test_a_triangle_holds_the_centres_on_and_under_its_diagonal():
    rows, columns = np.mgrid[1:7, 1:7]
    expected = (columns <= rows).astype(np.uint8)
    np.testing.assert_array_equal(filled([(1, 1), (6, 6), (1, 6)], 6, 6), expected)


def test_what_is_encircled_twice_is_outside():
    big = [(1.5, 1.5), (9.5, 1.5), (9.5, 9.5), (1.5, 9.5), (1.5, 1.5)]
    small = [(4.5, 4.5), (6.5, 4.5), (6.5, 6.5), (4.5, 6.5), (4.5, 4.5)]
    expected = np.zeros((10, 10), np.uint8)
    expected[1:9, 1:9] = 1
    expected[4:6, 4:6] = 0
    np.testing.assert_array_equal(filled(big + small, 10, 10), expected)


def test_a_polygon_is_cut_at_the_image():
    whole = filled([(-5, -7), (30, 4), (12, 33), (-9, 21)], 40, 40)
    part = filled([(-5, -7), (30, 4), (12, 33), (-9, 21)], 12, 9)
    assert part.any()
    np.testing.assert_array_equal(part, whole[:12, :9])


def test_random_polygons_follow_the_odd_crossings_rule():
    rng = np.random.default_rng(0)
    for place in range(200):
        outline = rng.uniform(-8, 30, (rng.integers(3, 12), 2))
        if place % 2:
            outline = np.round(outline)  # corners and level edges on pixel centres
        height, width = rng.integers(1, 25, 2)
        expected, close = odd_crossings(outline, height, width)
        differs = filled(outline, height, width) != expected
        assert not (differs & ~close).any()


def odd_crossings(outline, height, width):
    """Return inside-or-on, and which centres lie so close that rounding decides."""
    x, y = np.meshgrid(np.arange(1.0, width + 1), np.arange(1.0, height + 1))
    inside, on, close = (np.zeros(x.shape, bool) for _ in range(3))
    for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, 1, axis=0)):
        side = (x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)
        rows = ((y0 <= y) & (y < y1)) | ((y1 <= y) & (y < y0))
        inside ^= rows & (side * (y1 - y0) > 0)
        within = (np.minimum(x0, x1) <= x) & (x <= np.maximum(x0, x1))
        within &= (np.minimum(y0, y1) <= y) & (y <= np.maximum(y0, y1))
        on |= within & (side == 0)
        oblique = (x0 != x1) and (y0 != y1)
        close |= within & (np.abs(side) < 1e-9) & oblique
    return (inside | on).astype(np.uint8), close


def test_classes_lie_where_the_face_has_them():
    labels = landmarks.label_map(drawn.face_points(48, 44, 44), 96, 96)
    places = {
        "forehead": (28, 48),
        "cheek": (50, 36),
        "left eye": (42, 39),
        "right eye": (42, 58),
        "upper lip": (56, 48),
        "between the lips": (59, 48),
        "chin": (66, 48),
    }
    found = {name: int(labels[row - 1, x - 1]) for name, (row, x) in places.items()}
    assert found == {
        "forehead": 0,
        "cheek": 1,
        "left eye": 2,
        "right eye": 2,
        "upper lip": 3,
        "between the lips": 4,
        "chin": 1,
    }


def test_corners_far_outside_are_drawn_within_the_image_alone():
    far = 1e9  # a window as wide as the outline would not fit into any memory
    outline = [(-far, 2.5), (far, 2.5), (far, far), (-far, far)]
    expected = np.zeros((7, 9), np.uint8)
    expected[2:] = 1
    np.testing.assert_array_equal(filled(outline, 7, 9), expected)
    points = np.random.default_rng(0).uniform(-far, far, (68, 2))
    assert landmarks.label_map(points, 16, 16).shape == (16, 16)
