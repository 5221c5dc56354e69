"""The environment of the paper as pure functions: prepare, reset, observe, step."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxseg.dynamic import history, propagation
from jaxseg.dynamic.types import (
    Clip,
    Episode,
    Framework,
    Observation,
    Pair,
    PairFn,
    Rules,
    State,
)
from jaxseg.types import Array, Variables

ScoreFn = Callable[[Any, Any], Array]  # prediction, target -> score in 0..1


def prepare(
    framework: Framework,
    variables: Variables,
    clip: Clip,
    *,
    score_fn: ScoreFn,
    pseudo_labels: bool = False,
    batch_size: int = 16,
) -> Episode:
    """Compute once what no action can change: views, key features and U_a1.

    Args:
      clip: images [T, H, W, 3] and labels [T, H, W]; features and key scores are
        computed where they are not in it.
      score_fn: quality of a prediction, for example the mean IoU (Eq. 1).
      pseudo_labels: use the key predictions as targets (Eq. 2; then U_a1 is what
        `score_fn` gives a prediction against itself, 1 for the pixel accuracy).
      batch_size: frames that go through N_feat together; bounds the memory.
    """
    features, targets, scores = clip.features, clip.labels, clip.key_scores
    if features is None:
        features = key_features(
            framework.feature_fn, variables, clip.images, batch_size=batch_size
        )

    def predict(features):
        return framework.task_fn(variables, features)

    if pseudo_labels:
        targets = jax.lax.map(predict, features, batch_size=batch_size)

    def key_score(features_and_target):
        features, target = features_and_target
        return score_fn(predict(features), target)

    if scores is None:
        scores = jax.lax.map(key_score, (features, targets), batch_size=batch_size)
    view = functools.partial(framework.view_fn, variables)
    views = jax.lax.map(view, clip.images, batch_size=batch_size)
    return Episode(views, features, targets, scores)


def key_features(
    feature_fn: Callable[[Variables, Any], Any],
    variables: Variables,
    images: Array,
    *,
    batch_size: int = 16,
) -> Any:
    """Return N_feat of every frame of `images` [T, H, W, 3].

    Frames go in batches of one size, the last filled up with its last frame, so that
    one program does all and what it gives a frame does not depend on T.
    """
    count = len(images)
    fill = -count % batch_size
    filled = jnp.concatenate([images, jnp.repeat(images[-1:], fill, axis=0)])
    features = jax.lax.map(
        functools.partial(feature_fn, variables), filled, batch_size=batch_size
    )
    return jax.tree.map(lambda x: x[:count], features)


def networks_pair(framework: Framework, score_fn: ScoreFn) -> PairFn:
    """Return the pair function that runs the networks on the fly.

    The result maps (variables, episode, k, i) to D_{i->k} and U_a0 of one pair.
    """

    def pair(variables, episode: Episode, key_frame, frame) -> Pair:
        deviation, features = propagation.propagate(
            framework,
            variables,
            _at(episode.views, frame),
            _at(episode.views, key_frame),
            _at(episode.features, key_frame),
        )
        prediction = framework.task_fn(variables, features)
        return Pair(deviation, score_fn(prediction, _at(episode.targets, frame)))

    return pair


def _at(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def reset(rules: Rules) -> State:
    """Start a trial: frame 0 is key by rule, the first decision is at frame 1."""
    past, decisions = history.empty(rules)
    return State(
        frame=jnp.int32(1),
        key_frame=jnp.int32(0),
        history=past,
        decisions=decisions,
        done=jnp.bool_(False),
    )


def observe(
    pair_fn: PairFn,
    variables: Any,
    episode: Any,
    state: State,
    rules: Rules,
    look: Callable[[Any], Any] = lambda deviation: deviation,
) -> tuple[Observation, Array]:
    """Return what a scheduler sees at `state.frame`, and U_a0 [] of that frame.

    Args:
      look: the scheduler's, with its parameters.
    """
    pair = pair_fn(variables, episode, state.key_frame, state.frame)
    observation = Observation(
        deviation=look(pair.deviation),
        expert=history.expert(rules, state),
        key_distance=state.frame - state.key_frame,
        frame=state.frame,
    )
    return observation, pair.non_key_score


def step(
    rules: Rules, state: State, action: Array, gain: Array, budget: Array
) -> tuple[State, Array]:
    """Take an action; pay a key its gain (Eq. 1), end the trial over the budget.

    The ratio is tested before the next action, so the key that breaks the budget is
    taken and, unless `rules.pay_break` is off, paid. A finished trial comes back
    unchanged with reward 0.

    Args:
      action: [] bool, True = key.
      gain: [] U_a1 - U_a0 of the frame.
      budget: [] eta.

    Returns:
      The next state and the reward [].
    """
    past = history.push(state.history, action)
    decisions = state.decisions + 1
    broken = history.exceeds(history.key_ratio(rules, past, decisions), budget)
    moved = State(
        frame=state.frame + 1,
        key_frame=jnp.where(action, state.frame, state.key_frame),
        history=past,
        decisions=decisions,
        done=broken,
    )
    paid = action if rules.pay_break else action & ~broken
    reward = jnp.where(paid & ~state.done, gain, 0.0)
    keep = lambda old, new: jnp.where(state.done, old, new)
    return jax.tree.map(keep, state, moved), reward
