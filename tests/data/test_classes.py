import numpy as np
import pytest

from jaxseg.data import classes
from jaxseg.errors import UserError


def test_labels_may_be_classes_or_ignored():
    labels = np.array([[0, 1, 2], [3, 4, 255]], np.uint8)
    np.testing.assert_array_equal(classes.check_labels(labels, "x.png"), labels)


def test_a_value_without_a_class_is_named_with_its_file():
    with pytest.raises(UserError, match="x.png: label value 5 has no class"):
        classes.check_labels(np.array([[0, 5]], np.uint8), "x.png")


def test_label_ids_translate_and_shut_out_what_they_leave_out():
    table = classes.lookup({"0": 0, 50: 1, 100: 255})
    mapped = classes.map_labels(np.array([[0, 50, 100]], np.uint8), table, "x.png")
    assert mapped.tolist() == [[0, 1, 255]]
    with pytest.raises(UserError, match="label value 1 "):
        classes.map_labels(np.array([[0, 1]], np.uint8), table, "x.png")


@pytest.mark.parametrize("ids", [{0: 5}, {256: 1}, {-1: 1}, {"skin": 1}])
def test_a_label_mapping_must_lead_from_bytes_to_classes(ids):
    with pytest.raises(UserError, match="label_ids maps"):
        classes.lookup(ids)


def test_colours_are_read_back_as_classes():
    labels = np.array([[0, 1, 2], [3, 4, 0]], np.uint8)
    painted = classes.colour(labels)
    assert painted[0, 1].tolist() == [255, 0, 0]
    assert painted[1, 0].tolist() == [0, 255, 255]
    table = classes.lookup()
    np.testing.assert_array_equal(classes.map_labels(painted, table, "x"), labels)


def test_grey_pixels_in_three_channels_are_ids():
    labels = np.array([[0, 1], [4, 3]], np.uint8)
    stacked = np.repeat(labels[..., None], 3, axis=-1)
    table = classes.lookup()
    np.testing.assert_array_equal(classes.map_labels(stacked, table, "x"), labels)


def test_another_colour_is_named_with_its_file():
    painted = classes.colour(np.ones((2, 2), np.uint8))
    painted[1, 1] = (250, 3, 1)
    with pytest.raises(UserError, match=r"y.png: colour \(250, 3, 1\)"):
        classes.map_labels(painted, classes.lookup(), "y.png")
