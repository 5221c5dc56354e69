import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import iou


def test_four_pixels():
    target = jnp.array([[0, 0], [1, 255]], jnp.uint8)
    prediction = jnp.array([[0, 1], [1, 1]])
    confusion = iou.confusion(prediction, target, 3)
    np.testing.assert_array_equal(confusion, [[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    # Class 0: 1 of 2; class 1: 1 of 2; class 2 is nowhere and does not count.
    assert iou.mean_iou(confusion) == pytest.approx(0.5)
    assert iou.pixel_accuracy(prediction, target) == pytest.approx(2 / 3)


def test_class_present_only_in_the_prediction_counts_as_zero():
    target = jnp.zeros((2, 2), jnp.uint8)
    prediction = jnp.array([[0, 0], [0, 1]])
    assert iou.mean_iou(iou.confusion(prediction, target, 5)) == pytest.approx(0.375)


def test_nothing_valid_is_perfect():
    target = jnp.full((2, 2), 255, jnp.uint8)
    prediction = jnp.zeros((2, 2), jnp.int32)
    confusion = iou.confusion(prediction, target, 5)
    assert confusion.sum() == 0
    assert iou.mean_iou(confusion) == 1.0
    assert iou.pixel_accuracy(prediction, target) == 1.0


def test_counts_agree_with_numpy_for_a_batch_in_every_form():
    rng = np.random.default_rng(0)
    prediction = rng.integers(0, 5, (3, 9, 8))
    target = rng.integers(0, 6, (3, 9, 8)).astype(np.uint8)
    target[target == 5] = 255
    expected = np.zeros((3, 5, 5))
    for index, t, p in zip(np.repeat(range(3), 72), target.flat, prediction.flat):
        if t != 255:
            expected[index, t, p] += 1
    batched = jax.jit(jax.vmap(lambda p, t: iou.confusion(p, t, 5)))
    np.testing.assert_array_equal(batched(prediction, target), expected)
    flat = (prediction[0].ravel(), target[0].ravel().astype(int))
    for form in (iou._scattered_counts, iou._one_hot_counts):
        np.testing.assert_array_equal(form(*map(jnp.asarray, flat), 5), expected[0])


def test_another_ignore_value_and_labels_out_of_range_count_nowhere():
    target = jnp.array([0, 1, 7, 2], jnp.uint8)
    confusion = iou.confusion(jnp.array([0, 1, 0, 1]), target, 2, ignore=1)
    np.testing.assert_array_equal(confusion, [[1, 0], [0, 0]])


def test_class_sets():
    """Class 0: 2 of 4; class 1: 1 of 3; class 2 is in neither map."""
    target = jnp.array([0, 0, 0, 1, 1])
    prediction = jnp.array([0, 0, 1, 1, 0])
    confusion = iou.confusion(prediction, target, 3)
    found = [float(iou.mean_iou(confusion, classes)) for classes in iou.CLASS_SETS]
    assert found == pytest.approx([(1 / 2 + 1 / 3) / 2, 1 / 3, (1 / 2 + 1 / 3 + 1) / 3])
    background = jnp.zeros(5, jnp.int32)
    alone = iou.confusion(background, background, 3)
    assert float(iou.mean_iou(alone, "foreground")) == 1.0
