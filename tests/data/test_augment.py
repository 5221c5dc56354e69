import numpy as np
import pytest

from jaxseg.data import augment

STILL = augment.Augmentation(min_scale=1.0, max_scale=1.0, flip=0.0)


def example(height=40, width=40):
    """Return an image whose every channel is 50 times the label."""
    rows, columns = np.mgrid[:height, :width]
    label = ((rows // 10 + columns // 20) % 5).astype(np.uint8)
    return np.repeat(50 * label[..., None], 3, axis=-1).astype(np.uint8), label


def test_without_scale_and_flip_a_crop_of_the_whole_is_the_example():
    image, label = example()
    rng = np.random.default_rng(0)
    got_image, got_label = augment.augment(rng, image, label, (40, 40), STILL)
    np.testing.assert_array_equal(got_image, image)
    np.testing.assert_array_equal(got_label, label)


def test_a_flip_turns_image_and_labels_left_to_right():
    image, label = example()
    rng = np.random.default_rng(0)
    got_image, got_label = augment.augment(
        rng, image, label, (40, 40), STILL._replace(flip=1.0)
    )
    np.testing.assert_array_equal(got_image, image[:, ::-1])
    np.testing.assert_array_equal(got_label, label[:, ::-1])


def test_padding_is_grey_in_the_image_and_ignored_in_the_labels():
    image, label = example(20, 40)
    rng = np.random.default_rng(0)
    how = STILL._replace(min_scale=0.5, max_scale=0.5)
    got_image, got_label = augment.augment(rng, image, label, (32, 24), how)
    assert (got_label[10:] == 255).all() and (got_label[:, 20:] == 255).all()
    assert (got_image[10:] == 127).all() and (got_image[:, 20:] == 127).all()
    assert (got_label[:10, :20] < 5).all()


def test_padding_may_have_another_colour():
    image, label = example(20, 40)
    how = STILL._replace(pad=(124, 116, 104))
    rng = np.random.default_rng(0)
    got_image, got_label = augment.augment(rng, image, label, (24, 48), how)
    outside = got_label == 255
    assert outside.sum() == 24 * 48 - 20 * 40
    assert (got_image[outside] == (124, 116, 104)).all()
    np.testing.assert_array_equal(got_image[:20, :40], image)


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_crop_is_one_window_of_image_and_labels(scale, flip):
    """Every pixel carries its own place; scaled by two, it is there four times."""
    rows, columns = np.mgrid[:40, :60].astype(np.uint8)
    image = np.stack([rows, columns, rows], axis=-1)
    label = (rows // 2 * 8 + columns // 8).astype(np.uint8)  # below 255
    how = STILL._replace(min_scale=scale, max_scale=scale, flip=flip)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        got_image, got_label = augment.augment(rng, image, label, (16, 24), how)
        assert got_image.shape == (16, 24, 3) and got_label.shape == (16, 24)
        down, across = got_image[..., 0].astype(int), got_image[..., 1].astype(int)
        if flip:
            across, got_label = across[:, ::-1], got_label[:, ::-1]
        if scale == 1.0:
            np.testing.assert_array_equal(got_label, label[down, across])
            assert (np.diff(down, axis=0) == 1).all()
            assert (np.diff(across, axis=1) == 1).all()
        else:
            # Linear between centres: rounded to the pixel that it came from, or beside.
            near = [label[down, across], label[np.minimum(down + 1, 39), across]]
            near += [label[down, np.minimum(across + 1, 59)]]
            agree = np.any([got_label == one for one in near], axis=0)
            assert agree.mean() > 0.99
            assert np.ptp(down) <= 8 and np.ptp(across) <= 12


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.25, 2.0])
def test_labels_stay_on_their_pixels_at_every_scale(scale):
    image, label = example()
    how = STILL._replace(min_scale=scale, max_scale=scale)
    side = round(40 * scale)
    got_image, got_label = augment.augment(
        np.random.default_rng(0), image, label, (side, side), how
    )
    shown = got_image[..., 0] / 50.0
    aligned = np.abs(shown - got_label)
    # Only pixels beside an edge between classes may mix.
    assert aligned.mean() < 0.1 and np.median(aligned) == 0
    for axis in (0, 1):
        for shift in (-1, 1):
            moved = np.abs(shown - np.roll(got_label, shift, axis))
            assert aligned.mean() < 0.8 * moved.mean()


def test_crops_come_from_all_places():
    image = np.repeat(np.arange(40, dtype=np.uint8)[None, :, None], 40, axis=0)
    image = np.repeat(image, 3, axis=-1)
    rng = np.random.default_rng(0)
    lefts = {
        int(augment.augment(rng, image, image[..., 0], (40, 32), STILL)[0][0, 0, 0])
        for _ in range(200)
    }
    assert lefts == set(range(9))


def test_scales_are_the_seven_steps_from_a_half_to_two():
    image = np.zeros((40, 40, 3), np.uint8)
    label = np.zeros((40, 40), np.uint8)
    rng = np.random.default_rng(0)
    how = augment.DEEPLAB._replace(flip=0.0)
    sides = set()
    for _ in range(300):
        got = augment.augment(rng, image, label, (80, 80), how)[1]
        sides.add(int((got[0] != 255).sum()))
    assert sides == {20, 30, 40, 50, 60, 70, 80}


def test_brightness_and_contrast_move_the_image_only():
    image, label = example()
    rng = np.random.default_rng(0)
    how = STILL._replace(brightness=0.2, contrast=0.2)
    got_image, got_label = augment.augment(rng, image, label, (40, 40), how)
    assert (got_image != image).any()
    assert np.abs(got_image.astype(int) - image).max() <= 255 * 0.2 + 0.2 * 130
    np.testing.assert_array_equal(got_label, label)


def test_a_batch_is_decided_by_its_generator():
    image, label = example()
    images, labels = np.stack([image] * 6), np.stack([label] * 6)
    first = augment.augment_batch(np.random.default_rng(3), images, labels, (32, 32))
    again = augment.augment_batch(np.random.default_rng(3), images, labels, (32, 32))
    other = augment.augment_batch(np.random.default_rng(4), images, labels, (32, 32))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()
    assert first[0].shape == (6, 32, 32, 3) and first[1].shape == (6, 32, 32)
    assert (first[0][0] != first[0][1]).any()
