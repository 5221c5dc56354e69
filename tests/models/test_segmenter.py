import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import deeplab, deeplab_v3plus, mobilenet_v2, parameters, segmenter

SMALL = {
    "width": 0.25,
    "aspp_rates": (2,),
    "aspp_channels": 8,
    "decoder_channels": 8,
    "low_level_channels": 4,
}


def _shapes(network, height, width=None):
    images = jax.ShapeDtypeStruct((1, height, width or height, 3), jnp.uint8)
    return jax.eval_shape(lambda x: network.init(jax.random.key(0), x), images)


def _output(network, height, width=None):
    images = jax.ShapeDtypeStruct((1, height, width or height, 3), jnp.uint8)
    variables = _shapes(network, height, width)
    return jax.eval_shape(network.apply, variables, images).shape


@pytest.fixture(scope="module")
def small(fill):
    network = deeplab_v3plus.DeepLabV3Plus(dropout=0.0, **SMALL)
    images = np.random.default_rng(0).integers(0, 256, (2, 49, 49, 3), np.uint8)
    return network, fill(network, images), images


@pytest.fixture(scope="module")
def posterior(small):
    network, variables, images = small
    apply = jax.jit(functools.partial(network.apply, method="features"))
    return apply(variables, images)


@pytest.mark.parametrize("classes, count", [(5, 2_109_445), (21, 2_113_557)])
def test_released_form_has_the_published_size(classes, count):
    released = deeplab_v3plus.DeepLabV3Plus(classes, aspp_rates=(), decoder=False)
    assert parameters.count_parameters(_shapes(released, 129)) == count


def test_decoder_form_has_the_size_of_its_checkpoint():
    # 2,760,246 numbers of the TensorFlow checkpoint without its step counter, less
    # two moving statistics for every pair of scale and offset.
    variables = _shapes(deeplab_v3plus.DeepLabV3Plus(), 129)
    moving = sum(leaf.size for leaf in jax.tree.leaves(variables["batch_stats"]))
    assert parameters.count_parameters(variables) + moving == 2_760_245


def test_logits_lie_on_the_stride_four_grid():
    network = deeplab_v3plus.DeepLabV3Plus(**SMALL)
    assert _output(network, 513) == (1, 129, 129, 5)
    assert _output(network, 129) == (1, 33, 33, 5)
    assert _output(network, 96, 130) == (1, 24, 33, 5)


def test_without_decoder_logits_lie_at_the_output_stride():
    for stride, side in ((8, 17), (16, 9), (32, 5)):
        network = deeplab_v3plus.DeepLabV3Plus(
            output_stride=stride, decoder=False, **SMALL
        )
        assert _output(network, 129) == (1, side, side, 5)


def test_output_stride_does_not_change_the_parameters():
    shapes = [
        _shapes(deeplab_v3plus.DeepLabV3Plus(output_stride=s), 129) for s in (8, 16)
    ]
    assert jax.tree.map(jnp.shape, shapes[0]) == jax.tree.map(jnp.shape, shapes[1])


def test_dilation_replaces_stride(fill):
    # Undilated positions of the denser maps see exactly what the strided net sees.
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 65, 33, 3)), jnp.float32)
    coarse = mobilenet_v2.MobileNetV2(0.25, output_stride=32)
    dense = mobilenet_v2.MobileNetV2(0.25, output_stride=16)
    variables = fill(coarse, x)
    coarse_top = jax.jit(coarse.apply)(variables, x)["layer_18"]
    dense_top = jax.jit(dense.apply)(variables, x)["layer_18"]
    np.testing.assert_allclose(dense_top[:, ::2, ::2], coarse_top, atol=1e-5)


def test_width_follows_the_rounding_of_slim():
    widths = [mobilenet_v2.make_divisible(c * 0.35) for c in (16, 24, 32, 64, 160, 320)]
    assert widths == [8, 8, 16, 24, 56, 112]


def test_posterior_sums_to_one(posterior):
    assert posterior.shape == (2, 13, 13, 5)
    np.testing.assert_allclose(posterior.sum(-1), 1, atol=1e-5)
    assert posterior.std() > 0.01


def test_task_keeps_the_corners(posterior):
    scores = segmenter.Segmenter.task(posterior, (49, 49))
    assert scores.shape == (2, 49, 49, 5)
    np.testing.assert_allclose(scores[:, ::48, ::48], posterior[:, ::12, ::12])


def test_posterior_is_the_softmax_of_the_logits_and_takes_float_images(
    small, posterior
):
    network, variables, images = small
    logits = jax.jit(network.apply)(variables, images.astype(np.float32))
    np.testing.assert_allclose(posterior, jax.nn.softmax(logits), atol=1e-5)


def test_inference_leaves_the_statistics_alone(small):
    network, variables, images = small
    apply = functools.partial(network.apply, mutable=["batch_stats"])
    _, state = jax.jit(apply)(variables, images)
    jax.tree.map(
        np.testing.assert_array_equal, state["batch_stats"], variables["batch_stats"]
    )


def test_training_moves_every_statistic_by_its_momentum(small):
    _, variables, images = small
    updated = []
    for momentum in (0.5, 0.75):
        network = deeplab_v3plus.DeepLabV3Plus(
            bn_momentum=momentum, dropout=0.0, **SMALL
        )
        apply = functools.partial(network.apply, train=True, mutable=["batch_stats"])
        _, state = jax.jit(apply)(variables, images)
        change = jax.tree.map(
            lambda new, old: new - old, state["batch_stats"], variables["batch_stats"]
        )
        updated.append(jax.tree.leaves(change))
    for half, quarter in zip(*updated, strict=True):
        assert np.any(half != 0)
        np.testing.assert_allclose(half, 2 * quarter, rtol=1e-3, atol=1e-5)


def test_pyramid_drops_a_share_of_its_output_only_in_training(fill):
    pyramid = deeplab.Aspp(rates=(), channels=64, dropout=0.5)
    x = np.random.default_rng(0).normal(size=(1, 9, 9, 16)).astype(np.float32)
    variables = fill(pyramid, x)
    kept = pyramid.apply(variables, x)
    dropped, _ = pyramid.apply(
        variables,
        x,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": jax.random.key(0)},
    )
    assert 0.4 < np.mean(kept > 0) < 0.6  # ReLU alone
    assert 0.2 < np.mean(dropped > 0) < 0.35  # ReLU and half of the rest dropped


def test_unknown_backbone_is_refused():
    with pytest.raises(ValueError, match="mobilenet_v2"):
        _shapes(deeplab_v3plus.DeepLabV3Plus(backbone="vgg17"), 65)
