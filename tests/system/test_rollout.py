"""The compiled rollout against a plain loop over the same, real, networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import build, dynamic, model_file
from jaxseg.data import source
from jaxseg.evaluation import tables
from jaxseg.ops import iou, resize, warp


@pytest.fixture(scope="module")
def model(demo):
    return model_file.load(demo / "eta06", model_file.PARTS)


@pytest.fixture(scope="module")
def clip(demo, model):
    frames = source.FrameSource(demo / "data", "C", build.input_size(model.settings))
    return frames.clip(frames.runs[0].start, 12)


def plain_loop(model, images, labels, rng, budget, rules):
    """Every frame by hand: networks called one at a time, history in a list."""
    settings, variables = model.settings, model.variables
    net, flow_net = build.segmenter_net(settings), build.flow_net(settings)
    policy = build.policy_net(settings)
    size, flow_size = images.shape[1:3], build.input_size(settings, "flow")
    posterior = jax.jit(
        lambda image: net.apply(variables["segmenter"], image[None], method="features")[
            0
        ]
    )
    flow_of = jax.jit(
        lambda image, key: flow_net.apply(variables["flow"], image[None], key[None])
    )
    logits_of = jax.jit(functools.partial(policy.apply, variables["policy"]))
    views = [resize.shrink(jnp.asarray(image), flow_size) for image in images]

    def score(features, label):
        labels = np.asarray(net.task(features, size)).argmax(-1)
        return float(iou.mean_iou(iou.confusion(jnp.asarray(labels), label, 5)))

    key, key_features, history, rows = 0, posterior(images[0]), [], []
    for frame in range(1, len(images)):
        ratio = sum(history[-rules.window :]) / rules.window
        if ratio > budget:
            break
        motion = flow_of(views[frame], views[key])
        distance = (frame - key) / rules.window
        logits = logits_of(
            motion.deviation, jnp.array([ratio], jnp.float32), jnp.array([distance])
        )[0]
        probability = float(jax.nn.softmax(logits)[1])
        draw = float(jax.random.uniform(jax.random.fold_in(rng, frame)))
        action = draw < probability
        grid = key_features.shape[:2]
        flow = resize.resize_flow(motion.flow[0], grid)
        scale = resize.resize_bilinear(motion.scale[0], grid)
        propagated = score(warp.warp(key_features, flow) * scale, labels[frame])
        own_features = posterior(images[frame])
        own = score(own_features, labels[frame])
        reward = own - propagated if action else 0.0
        rows.append((frame, key, action, reward, own if action else propagated))
        history.append(action)
        if action:
            key, key_features = frame, own_features
    return rows


@pytest.mark.parametrize(("seed", "budget"), [(0, np.inf), (1, np.inf), (2, 0.2)])
def test_rollout_equals_the_loop_decision_for_decision(model, clip, seed, budget):
    images, labels = clip
    # An undecided policy, so that both actions occur.
    policy = jax.tree.map(jnp.copy, model.variables["policy"])
    last = f"FC{len(model.settings['policy']['hidden'])}"
    policy["params"][last]["bias"] = jnp.zeros(2)
    model = model._replace(variables={**model.variables, "policy": policy})
    rules = build.rules(model.settings)
    episode = tables.episode_of(model, dynamic.Clip(images, labels))
    params = dynamic.RolloutParams(
        model.variables, (policy, jnp.float32(1.0)), jnp.float32(budget)
    )
    rng = jax.random.key(seed)
    run = functools.partial(
        dynamic.rollout,
        build.pair_fn(model.settings),
        dynamic.sampled(build.policy_fn(model.settings)),
        rules=rules,
    )
    trajectory = jax.device_get(jax.jit(run)(params, rng, episode))
    rows = plain_loop(model, images, labels, rng, budget, rules)
    assert int(trajectory.valid.sum()) == len(rows)
    for index, (frame, key, action, reward, score) in enumerate(rows):
        assert trajectory.frame[index] == frame
        assert trajectory.key_frame[index] == key
        assert trajectory.action[index] == action
        # A pixel whose two best classes tie may fall either way.
        assert trajectory.reward[index] == pytest.approx(reward, abs=1e-3)
        assert trajectory.score[index] == pytest.approx(score, abs=1e-3)
    assert 0 < sum(row[2] for row in rows) < len(rows)
    # Rewards and scores say something about the networks.
    assert max(abs(row[3]) for row in rows) > 1e-3
    assert np.ptp([row[4] for row in rows]) > 1e-2


def test_tables_of_the_evaluation_decide_as_the_stream_does(model, clip):
    """Deviations are kept in half precision; decisions and scores must not change."""
    from jaxseg.evaluation import clips, live, specs

    images, labels = clip
    policy = jax.tree.map(jnp.copy, model.variables["policy"])
    last = f"FC{len(model.settings['policy']['hidden'])}"
    policy["params"][last]["bias"] = jnp.zeros(2)
    policy["params"][last]["kernel"] = 20 * policy["params"][last]["kernel"]
    model = model._replace(variables={**model.variables, "policy": policy})
    taus = (0.3, 0.45, 0.5, 0.55, 0.7)
    compared = {"policy": specs.policy(model, taus, 0)}
    scores = clips.score_clip(model, compared, dynamic.Clip(images, labels))
    for index, tau in enumerate(taus):
        frames = list(live.stream(model, tau)(iter(images)))
        keys = sum(frame.key for frame in frames)
        assert keys == scores.outcomes["policy"].keys[index], tau
        total, matrix = 0.0, 0.0
        for frame, label in zip(frames, labels, strict=True):
            found = iou.confusion(jnp.asarray(frame.labels), jnp.asarray(label), 5)
            matrix = matrix + np.asarray(found)
            total += float(iou.mean_iou(found))
        np.testing.assert_allclose(
            scores.outcomes["policy"].confusion[index], matrix, atol=3
        )
        assert total == pytest.approx(scores.outcomes["policy"].score[index], abs=1e-3)
    assert len(set(scores.outcomes["policy"].keys)) > 1
