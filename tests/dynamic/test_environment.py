import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import dynamic
from jaxseg.dynamic import history
from tests import fakes


def run_actions(rules, actions, gains, budget):
    state, rewards, alive = dynamic.reset(rules), [], []
    for action, gain in zip(actions, gains, strict=True):
        alive.append(not bool(state.done))
        state, reward = dynamic.step(
            rules, state, jnp.bool_(action), jnp.float32(gain), jnp.float32(budget)
        )
        rewards.append(float(reward))
    return state, rewards, alive


def test_only_keys_are_paid_and_move_the_key_frame():
    state, rewards, _ = run_actions(dynamic.Rules(), [0, 1, 0], [0.1, 0.2, 0.3], 1.0)
    np.testing.assert_allclose(rewards, [0.0, 0.2, 0.0], rtol=1e-6)
    assert (int(state.frame), int(state.key_frame)) == (4, 2)


@pytest.mark.parametrize(("eta", "allowed"), [(0.04, 3), (0.06, 5), (0.14, 12)])
def test_budget_allows_the_stated_keys_and_pays_the_one_that_breaks_it(eta, allowed):
    keys = [1] * (allowed + 2)
    state, rewards, alive = run_actions(dynamic.Rules(), keys, [1.0] * len(keys), eta)
    assert bool(state.done)
    assert sum(alive) == allowed + 1
    assert sum(rewards) == allowed + 1  # the breaking key is paid, nothing after it


def test_breaking_key_can_be_left_unpaid():
    rules = dynamic.Rules(pay_break=False)
    _, rewards, _ = run_actions(rules, [1] * 5, [1.0] * 5, 0.04)
    assert sum(rewards) == 3


def test_old_keys_leave_the_window():
    rules = dynamic.Rules(window=10)
    actions = [1] + [0] * 9 + [1]
    state, _, alive = run_actions(rules, actions, [0.0] * 11, 0.1)
    assert all(alive) and not bool(state.done)
    assert float(history.expert(rules, state)[0]) == pytest.approx(0.1)


def test_finished_trial_is_unchanged_and_unpaid():
    rules = dynamic.Rules(window=4)
    state, _, _ = run_actions(rules, [1, 1], [1.0, 1.0], 0.25)
    after, reward = dynamic.step(
        rules, state, jnp.bool_(True), jnp.float32(5.0), jnp.float32(0.25)
    )
    assert bool(state.done) and float(reward) == 0.0
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), state, after))


@pytest.mark.parametrize(
    ("reading", "expected"), [("window", 0.2), ("elapsed", 0.4), ("non_key", 0.25)]
)
def test_key_ratio_readings(reading, expected):
    rules = dynamic.Rules(window=10, key_ratio=reading)
    state, _, _ = run_actions(rules, [1, 0, 1, 0, 0], [0.0] * 5, np.inf)
    assert float(history.expert(rules, state)[0]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reading", "expected"), [("window", 1.5), ("frames", 15.0), ("clipped", 1.0)]
)
def test_key_distance_readings(reading, expected):
    rules = dynamic.Rules(window=10, key_distance=reading)
    assert float(history.scaled_distance(rules, jnp.int32(15))) == expected


def test_first_frame_can_count():
    rules = dynamic.Rules(window=10, count_first_frame=True)
    assert float(history.expert(rules, dynamic.reset(rules))[0]) == pytest.approx(0.1)


def test_unknown_reading_is_named():
    with pytest.raises(ValueError, match="'elapsd'.*expected 'window'"):
        rules = dynamic.Rules(key_ratio="elapsd")
        history.expert(rules, dynamic.reset(rules))


def test_prepare_scores_key_predictions_against_labels():
    clip = fakes.clip(3, 7)
    episode = dynamic.prepare(
        fakes.FRAMEWORK, fakes.VARIABLES, clip, score_fn=fakes.score, batch_size=3
    )
    expected = np.exp(-np.abs(clip.images[:, 0, 0, 0] - clip.labels))
    np.testing.assert_allclose(episode.key_scores, expected, rtol=1e-6)


def test_pseudo_labels_make_key_scores_perfect():
    clip = fakes.clip(3, 7)._replace(labels=None)
    episode = dynamic.prepare(
        fakes.FRAMEWORK,
        fakes.VARIABLES,
        clip,
        score_fn=fakes.score,
        pseudo_labels=True,
    )
    np.testing.assert_allclose(episode.key_scores, 1.0)
    np.testing.assert_allclose(episode.targets, clip.images[:, 0, 0, 0])


@pytest.mark.parametrize("pseudo_labels", [False, True])
def test_prepare_takes_features_and_scores_that_a_clip_has(pseudo_labels):
    clip = fakes.clip(3, 7)

    def refuse(variables, image):
        raise AssertionError("N_feat was run")

    framework = fakes.FRAMEWORK._replace(feature_fn=refuse)
    clip = clip._replace(features=clip.images[:, 0, 0, 0] + 1.0)
    options = {"score_fn": fakes.score, "pseudo_labels": pseudo_labels}
    episode = dynamic.prepare(framework, fakes.VARIABLES, clip, **options)
    np.testing.assert_array_equal(episode.features, clip.features)
    target = clip.features if pseudo_labels else clip.labels
    np.testing.assert_array_equal(episode.targets, target)
    expected = np.exp(-np.abs(clip.features - target))
    np.testing.assert_allclose(episode.key_scores, expected, rtol=1e-6)
    known = clip._replace(key_scores=jnp.arange(7.0))
    episode = dynamic.prepare(framework, fakes.VARIABLES, known, **options)
    np.testing.assert_array_equal(episode.key_scores, np.arange(7.0))


def test_every_frame_has_its_features_whatever_the_batch():
    clip = fakes.clip(3, 21)
    sums = lambda variables, image: image.sum()
    for count in (1, 4, 8, 21):
        images = clip.images[:count]
        found = dynamic.key_features(sums, None, images, batch_size=4)
        np.testing.assert_array_equal(found, images[:, 0, 0, 0])


def test_observe_gives_the_pair_and_the_expert_information():
    episode, rules = fakes.episode(num_frames=9), dynamic.Rules(window=10)
    state = dynamic.reset(rules)._replace(frame=jnp.int32(5), key_frame=jnp.int32(2))
    observation, score = dynamic.observe(
        fakes.PAIR, fakes.VARIABLES, episode, state, rules
    )
    motion = 0.5 * float(episode.views[5] - episode.views[2])
    np.testing.assert_allclose(observation.deviation, [motion, abs(motion)], rtol=1e-6)
    np.testing.assert_allclose(observation.expert, [0.0, 0.3], rtol=1e-6)
    prediction = float(episode.features[2]) + motion
    assert float(score) == pytest.approx(
        np.exp(-abs(prediction - float(episode.targets[5]))), rel=1e-5
    )
