import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import multiscale
from jaxseg.ops import resize

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 33, 41, 3), np.uint8)
MATRIX = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32) / 50


def network(images):
    """Classify every fourth pixel by its color and that of its right neighbour."""
    neighbour = jnp.roll(images, -1, axis=2) * jnp.asarray([1.0, 0.0, -1.0])
    return ((images + neighbour) @ MATRIX)[:, ::4, ::4]


def test_a_scale_counts_the_steps_between_pixels():
    scaled = [multiscale.scale_dimension(513, s) for s in (0.25, 1.25, 1.75)]
    assert scaled == [129, 641, 897]
    assert multiscale.scale_dimension(512, 0.5) == 256  # 255.5 steps


def test_one_scale_is_the_softmax_of_enlarged_logits():
    found = multiscale.probabilities(network, IMAGES)
    logits = resize.resize_bilinear(network(IMAGES.astype(np.float32)), (33, 41))
    np.testing.assert_allclose(found, jax.nn.softmax(logits), atol=1e-6)


def test_posteriors_are_averaged_over_scales_and_mirrors():
    scales = (0.75, 1.0, 1.25)
    images = IMAGES.astype(np.float32)
    expected = []
    for scale, size in zip(scales, [(25, 31), (33, 41), (41, 51)], strict=True):
        for step in (1, -1):
            scaled = resize.resize_bilinear(images[:, :, ::step], size)
            logits = network(scaled)
            if scale < 1:  # by way of the logits of the full image
                logits = resize.resize_bilinear(logits, (9, 11))
            logits = resize.resize_bilinear(logits, (33, 41))
            expected.append(jax.nn.softmax(logits)[:, :, ::step])
    found = multiscale.probabilities(network, IMAGES, scales, flip=True)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-6)
    straight = multiscale.probabilities(network, IMAGES, scales)
    np.testing.assert_allclose(straight, np.mean(expected[::2], axis=0), atol=1e-6)
    assert np.abs(found - straight).max() > 0.01


def test_logits_are_enlarged_by_the_rule_of_their_network():
    images = IMAGES[:, :32, :40]
    found = multiscale.probabilities(network, images, rule="legacy")
    logits = resize.resize_bilinear(
        network(images.astype(np.float32)), (32, 40), "legacy"
    )
    np.testing.assert_allclose(found, jax.nn.softmax(logits), atol=1e-6)
    assert np.abs(found - multiscale.probabilities(network, images)).max() > 0.01


def test_a_network_blind_to_scale_gives_the_same_at_every_scale():
    ramp = np.linspace(0, 255, 33 * 41 * 3, dtype=np.float32).reshape(1, 33, 41, 3)
    blind = lambda images: images @ MATRIX
    found = multiscale.probabilities(blind, ramp, (0.5, 1.75))
    np.testing.assert_allclose(found, jax.nn.softmax(ramp @ MATRIX), atol=1e-4)


def test_no_scales_are_refused():
    with pytest.raises(ValueError, match="no scales"):
        multiscale.probabilities(network, IMAGES, ())
