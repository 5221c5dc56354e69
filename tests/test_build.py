"""What is built for a precision, and that nothing else is returned in its place."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import build, dynamic
from jaxseg.errors import UserError

SETTINGS = {
    "segmenter": {
        "architecture": "deeplab_v2",
        "variant": "large_fov",
        "num_classes": 5,
        "width": 0.1,
        "hidden": 8,
        "input_size": 33,
    },
    "flow": {"base_channels": 4, "num_classes": 5, "border": "clamp", "input_size": 33},
    "policy": {
        "conv_channels": 4,
        "hidden": [16, 8],
        "key_bias": 0.0,
        "action_scale": 1.0,
    },
}
PARTS = ("segmenter", "flow", "policy")
RULES = dynamic.Rules(window=8)


@functools.cache
def variables():
    """Return drawn variables, without the time that initializers take to compile."""
    rng = np.random.default_rng(0)

    def draw(leaf):
        scale = (2 / np.prod(leaf.shape[:-1])) ** 0.5 if len(leaf.shape) > 1 else 0.1
        return rng.normal(0, scale, leaf.shape).astype(np.float32)

    return {p: jax.tree.map(draw, build.shapes(SETTINGS, p)) for p in PARTS}


@functools.cache
def clip():
    """Return moving blobs of which the features are a little off."""
    draw = np.random.default_rng(0)
    steps = draw.normal(0, 20, (12, 5, 5, 3)).cumsum(0) + 128
    images = np.clip(jax.image.resize(steps, (12, 33, 33, 3), "linear"), 0, 255)
    labels = (images.mean(-1) // 52).astype(np.uint8)
    features = 3 * np.eye(5)[labels[:, ::4, ::4]] + draw.normal(size=(12, 9, 9, 5))
    features = jnp.asarray(features, jnp.float32)
    return images.astype(np.uint8), labels, jax.nn.softmax(features)


@pytest.mark.parametrize(
    "make",
    [
        build.framework,
        functools.partial(build.pair_fn, scoring=build.Scoring(True)),
        build.policy_fn,
    ],
)
def test_what_was_made_for_one_precision_is_not_returned_for_another(make):
    narrow, wide = (make(SETTINGS, precision=p) for p in ("bfloat16", "float32"))
    assert narrow is not wide
    # However it is said.
    assert make(SETTINGS) is wide
    assert make(dict(SETTINGS), precision="bfloat16") is narrow


def test_an_unknown_precision_is_refused():
    for make in (build.framework, build.policy_fn, *build.NETWORKS.values()):
        with pytest.raises(UserError, match="precision is 'float16'"):
            make(SETTINGS | {"decision": {}}, precision="float16")


def test_only_the_deviation_is_bfloat16():
    framework = build.framework(SETTINGS, "bfloat16")
    given = variables()
    image = jax.ShapeDtypeStruct((33, 33, 3), jnp.uint8)
    view = jax.eval_shape(framework.view_fn, given, image)
    features = jax.eval_shape(framework.feature_fn, given, image)
    motion = jax.eval_shape(framework.motion_fn, given, view, view)
    propagated = jax.eval_shape(framework.propagate_fn, motion, features)
    float32 = [view, features, motion.flow, motion.scale, propagated]
    assert {x.dtype for x in float32} == {jnp.dtype(jnp.float32)}
    assert framework.deviation_fn(motion).dtype == jnp.bfloat16
    policy_fn = build.policy_fn(SETTINGS, "bfloat16")
    seen = jax.eval_shape(policy_fn.trunk, given["policy"], motion.deviation)
    assert seen.dtype == jnp.float32


def arguments(precision, make=jax.eval_shape):
    """Return what a rollout takes: parameters, keys of 8 trials, an episode."""
    images, labels, features = clip()
    view = jax.vmap(build.framework(SETTINGS, precision).view_fn, (None, 0))
    params = dynamic.RolloutParams(
        variables(), (variables()["policy"], jnp.float32(0.9)), jnp.float32(0.5)
    )
    rngs = dynamic.trial_rngs(jax.random.key(0), jnp.arange(8))
    views = make(view, variables(), images)
    scores = jnp.linspace(0.6, 0.8, len(images))
    return params, rngs, dynamic.Episode(views, features, labels, scores)


def parts(precision):
    scheduler = dynamic.sampled(build.policy_fn(SETTINGS, precision))
    return build.pair_fn(SETTINGS, precision=precision), scheduler


def plain(precision):
    run = functools.partial(dynamic.rollout_trials, *parts(precision), rules=RULES)
    return lambda *args: run(*args)


def shared(precision):
    def run(params, rngs, episode):
        found = dynamic.rollout_episodes(
            *parts(precision),
            params,
            rngs[None],
            jax.tree.map(lambda x: x[None], episode),
            rules=RULES,
            how=dynamic.Sharing((8,), keep_seen=True, kept=None, score_batch=8),
        )
        trials = jax.tree.map(lambda x: x[0], found.trials)
        return trials, found.distinct.deviation, found.seen.value

    return run


@functools.cache
def rolled(precision, make):
    given = arguments(precision, lambda fn, *args: jax.jit(fn)(*args))
    return jax.jit(make(precision))(*given)


def test_bfloat16_rollouts_keep_deviations_at_half_the_size():
    for precision, dtype in (("float32", jnp.float32), ("bfloat16", jnp.bfloat16)):
        shapes = jax.eval_shape(shared(precision), *arguments(precision))
        trials, deviation, seen = shapes
        assert deviation.dtype == dtype
        float32 = {seen.dtype, trials.reward.dtype, trials.key_probability.dtype}
        assert float32 == {jnp.dtype(jnp.float32)}


def test_probabilities_of_the_same_pairs_are_close_in_both_precisions():
    # The first decision of every trial is on the same pair.
    ours, theirs = (
        rolled(precision, plain).key_probability[:, 0]
        for precision in ("bfloat16", "float32")
    )
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    assert not np.array_equal(ours, theirs)


def test_bfloat16_rollouts_decide_alike_shared_or_not():
    (found, _, _), expected = (rolled("bfloat16", how) for how in (shared, plain))
    np.testing.assert_array_equal(found.valid, expected.valid)
    valid = np.asarray(expected.valid)
    np.testing.assert_array_equal(found.action[valid], expected.action[valid])
    assert 0 < expected.action.sum() < valid.sum()
    # The sizes of batches decide in which order float32 sums are added.
    np.testing.assert_allclose(
        found.key_probability[valid], expected.key_probability[valid], atol=0.01
    )
    assert np.abs(expected.reward).max() > 1e-3
    np.testing.assert_allclose(found.reward, expected.reward, atol=1e-3)
