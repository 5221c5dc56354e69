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


@functools.cache
def variables():
    return {part: build.init(SETTINGS, part, 0) for part in PARTS}


@functools.cache
def clip():
    draw = np.random.default_rng(0)
    steps = draw.normal(0, 20, (12, 5, 5, 3)).cumsum(0) + 128
    images = np.clip(jax.image.resize(steps, (12, 33, 33, 3), "linear"), 0, 255)
    labels = (images.mean(-1) // 52).astype(np.uint8)
    return dynamic.Clip(images.astype(np.uint8), labels)


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


@functools.cache
def rolled(precision, shared):
    """Return trials of a clip, and the distinct pairs of a shared rollout."""
    prepare = build.prepare_fn(SETTINGS, precision=precision)
    episode = jax.jit(prepare)(variables(), clip())
    scheduler = dynamic.sampled(build.policy_fn(SETTINGS, precision))
    params = dynamic.RolloutParams(
        variables(), (variables()["policy"], jnp.float32(0.9)), jnp.float32(0.5)
    )
    rngs = dynamic.trial_rngs(jax.random.key(0), jnp.arange(8))
    rules = dynamic.Rules(window=8)
    pair_fn = build.pair_fn(SETTINGS, precision=precision)
    if not shared:
        run = functools.partial(dynamic.rollout_trials, pair_fn, scheduler, rules=rules)
        return jax.jit(run)(params, rngs, episode), None
    run = functools.partial(
        dynamic.rollout_episodes,
        pair_fn,
        scheduler,
        rules=rules,
        how=dynamic.Sharing(keep_seen=True, kept=None),
    )
    episodes = jax.tree.map(lambda x: x[None], episode)
    found = jax.jit(run)(params, rngs[None], episodes)
    return jax.tree.map(lambda x: x[0], found.trials), found.distinct


def test_bfloat16_rollouts_keep_deviations_at_half_the_size():
    for precision, dtype in (("float32", jnp.float32), ("bfloat16", jnp.bfloat16)):
        trials, distinct = rolled(precision, True)
        assert distinct.deviation.dtype == dtype
        assert distinct.seen.dtype == jnp.float32
        assert {x.dtype for x in (trials.reward, trials.key_probability)} == {
            jnp.dtype(jnp.float32)
        }
        assert 0 < trials.action.sum() < trials.valid.sum()


def test_probabilities_of_the_same_pairs_are_close_in_both_precisions():
    narrow, wide = (rolled(p, True)[0] for p in ("bfloat16", "float32"))
    # The first decision of every trial is on the same pair.
    ours, theirs = (x.key_probability[:, 0] for x in (narrow, wide))
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    assert not np.array_equal(ours, theirs)


def test_bfloat16_rollouts_decide_alike_shared_or_not():
    shared, plain = (rolled("bfloat16", how)[0] for how in (True, False))
    np.testing.assert_array_equal(shared.valid, plain.valid)
    valid = np.asarray(plain.valid)
    np.testing.assert_array_equal(shared.action[valid], plain.action[valid])
    # The sizes of batches decide in which order float32 sums are added.
    np.testing.assert_allclose(
        shared.key_probability[valid], plain.key_probability[valid], atol=0.01
    )
    assert np.abs(plain.reward).max() > 1e-3
    np.testing.assert_allclose(shared.reward, plain.reward, atol=1e-3)
