import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import dynamic
from tests import fakes

RULES = dynamic.Rules(window=8)


def test_stream_equals_the_rollout_without_stop_rule():
    clip, rng = fakes.clip(6, 40), jax.random.key(2)
    episode = dynamic.prepare(
        fakes.FRAMEWORK, fakes.VARIABLES, clip, score_fn=fakes.score
    )
    scheduler = dynamic.sampled(fakes.policy)
    params = fakes.params((fakes.policy_variables(3), jnp.float32(0.98)))
    expected = dynamic.rollout(fakes.PAIR, scheduler, params, rng, episode, rules=RULES)
    step = jax.jit(
        functools.partial(
            dynamic.segment_frame, fakes.FRAMEWORK, scheduler, rules=RULES
        )
    )
    stream, first = dynamic.open_stream(
        fakes.FRAMEWORK, scheduler, params, clip.images[0], rules=RULES
    )
    assert float(first) == float(clip.images[0, 0, 0, 0])
    for row, image in enumerate(clip.images[1:]):
        stream, result = step(params, rng, stream, image)
        assert bool(result.decision.action) == bool(expected.action[row])
        assert int(result.key_distance) == row + 1 - int(expected.key_frame[row])
        np.testing.assert_allclose(result.expert, expected.expert[row], rtol=1e-6)
        score = fakes.score(result.prediction, clip.labels[row + 1])
        np.testing.assert_allclose(score, expected.score[row], rtol=1e-5)
    assert 0 < int(expected.action.sum()) < 39


def test_features_are_computed_on_keys_only():
    calls = []

    def counted(variables, image):
        jax.debug.callback(lambda: calls.append(1))
        return image[0, 0, 0]

    framework = fakes.FRAMEWORK._replace(feature_fn=counted)
    scheduler = dynamic.fixed_interval()
    params = fakes.params(jnp.int32(5))
    step = jax.jit(functools.partial(dynamic.segment_frame, framework, scheduler))
    images = fakes.clip(0, 21).images
    stream, _ = dynamic.open_stream(framework, scheduler, params, images[0])
    for image in images[1:]:
        stream, _ = step(params, jax.random.key(0), stream, image)
    jax.effects_barrier()
    assert len(calls) == 5  # frames 0, 5, 10, 15, 20


def test_propagated_features_may_lie_on_another_grid():
    plain = fakes.FRAMEWORK

    def propagate(motion, features):
        return jnp.stack([plain.propagate_fn(motion, features)] * 2)

    framework = plain._replace(
        propagate_fn=propagate,
        task_fn=lambda variables, x: plain.task_fn(variables, jnp.mean(x)),
    )
    images = fakes.clip(4, 12).images
    predictions = [
        _predictions(each, dynamic.fixed_interval(), jnp.int32(4), images)
        for each in (plain, framework)
    ]
    np.testing.assert_allclose(*predictions, rtol=1e-6)
    assert len(set(predictions[0])) > 3


def _predictions(framework, scheduler, scheduler_params, images):
    params = fakes.params(scheduler_params)
    step = jax.jit(functools.partial(dynamic.segment_frame, framework, scheduler))
    stream, first = dynamic.open_stream(framework, scheduler, params, images[0])
    found = [float(first)]
    for image in images[1:]:
        stream, result = step(params, jax.random.key(0), stream, image)
        found.append(float(result.prediction))
    return found
