import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.learning import flow
from jaxseg.models import deeplab_fast, deeplab_v3plus
from jaxseg.ops import warp


def test_end_point_error_of_a_uniform_flow_on_a_coarser_grid():
    # 2 pixels on a grid of 5 are 4 on one of 9 (corners aligned).
    found = jnp.broadcast_to(jnp.array([2.0, 0.0]), (5, 5, 2))
    true = jnp.broadcast_to(jnp.array([4.0, 3.0]), (9, 9, 2))
    assert float(flow.end_point_error(found, true)) == pytest.approx(3.0, rel=1e-5)


def test_random_flow_is_smooth_bounded_and_drawn_anew():
    flows = [flow.random_flow(jax.random.key(s), (33, 41), 0.1) for s in range(20)]
    steps = [float(jnp.abs(jnp.diff(f, axis=1)).max()) for f in flows]
    sizes = [float(jnp.abs(f).max()) for f in flows]
    assert max(steps) < 1.0 and 1.0 < max(sizes) < 41
    assert len({round(size, 4) for size in sizes}) == 20


def test_known_motion_undoes_itself_in_the_stated_direction():
    """moved(p) = key(p + flow(p)): the key warped by the flow is the moved frame."""
    key = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (33, 33, 3)))
    true = jnp.zeros((33, 33, 2)).at[..., 0].set(3.0)
    moved = warp.warp(key, true)
    np.testing.assert_allclose(moved[:, :-3], key[:, 3:], rtol=1e-6)


@pytest.mark.parametrize(
    ("net", "of_probabilities"),
    [
        (deeplab_v3plus.DeepLabV3Plus(num_classes=3), lambda x: 0.7 * x),
        (deeplab_fast.DeepLabFast(num_classes=3), lambda x: jnp.log(x) + 5),
    ],
    ids=["posterior", "logits"],
)
def test_loss_of_uniform_features_is_the_logarithm_of_their_probability(
    net, of_probabilities
):
    features = of_probabilities(jnp.array([0.5, 0.4, 0.1]))
    features = jnp.broadcast_to(features, (2, 3, 4, 3))
    labels = np.full((2, 6, 8), 1, np.uint8)
    labels[0] = 2
    labels[1, 0] = 255
    expected = -(48 * np.log(0.1) + 40 * np.log(0.4)) / 88
    loss = flow.segmentation_loss(net, features, labels)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
