"""Dynamic segmentation of a stream: one compiled step a frame, memory constant."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.dynamic import history
from jaxseg.dynamic.types import (
    DEFAULT_RULES,
    Decision,
    Framework,
    Observation,
    RolloutParams,
    Rules,
    Scheduler,
    State,
)
from jaxseg.types import Array, PRNGKey


class StreamState(NamedTuple):
    """What is kept between frames: the last key and the history of decisions."""

    state: State
    key_view: Any
    key_features: Any
    memory: Any


class StreamStep(NamedTuple):
    """What happened at one frame."""

    prediction: Any  # class map [H, W]
    decision: Decision
    expert: Array  # [2] key ratio and scaled key distance before the decision
    key_distance: Array  # [] int32, i - k in frames


def open_stream(
    framework: Framework,
    scheduler: Scheduler,
    params: RolloutParams,
    image: Array,
    *,
    rules: Rules = DEFAULT_RULES,
) -> tuple[StreamState, Any]:
    """Segment the first frame, which is key by rule.

    Args:
      image: [H, W, 3] RGB 0..255.

    Returns:
      The state of the stream and the prediction of the frame.
    """
    features = framework.feature_fn(params.framework, image)
    past, decisions = history.empty(rules)
    stream = StreamState(
        state=State(jnp.int32(1), jnp.int32(0), past, decisions, jnp.bool_(False)),
        key_view=framework.view_fn(params.framework, image),
        key_features=features,
        memory=scheduler.start(params.scheduler),
    )
    return stream, framework.task_fn(params.framework, features)


def segment_frame(
    framework: Framework,
    scheduler: Scheduler,
    params: RolloutParams,
    rng: PRNGKey,
    stream: StreamState,
    image: Array,
    *,
    rules: Rules = DEFAULT_RULES,
) -> tuple[StreamState, StreamStep]:
    """Segment the next frame of a stream; N_feat runs only where it is key.

    No stop rule holds in a stream: `params.budget` is not used. Compile with
    `jax.jit(functools.partial(segment_frame, framework, scheduler))`; under `vmap`
    both branches would run.

    Args:
      rng: the stream's key; the frame number is folded in here.
      image: [H, W, 3] RGB 0..255, of the size of the first frame.
    """
    variables, state = params.framework, stream.state
    view = framework.view_fn(variables, image)
    motion = framework.motion_fn(variables, view, stream.key_view)
    observation = Observation(
        deviation=scheduler.look(params.scheduler, framework.deviation_fn(motion)),
        expert=history.expert(rules, state),
        key_distance=state.frame - state.key_frame,
        frame=state.frame,
    )
    decision, remembered = scheduler.decide(
        params.scheduler,
        jax.random.fold_in(rng, state.frame),
        observation,
        stream.memory,
    )

    def key():
        features = framework.feature_fn(variables, image)
        return view, features, scheduler.start(params.scheduler)

    def non_key():
        return stream.key_view, stream.key_features, remembered

    kept = jax.lax.cond(decision.action, key, non_key)
    # What is propagated may have another grid than the key features.
    prediction = jax.lax.cond(
        decision.action,
        lambda features: framework.task_fn(variables, features),
        lambda features: framework.task_fn(
            variables, framework.propagate_fn(motion, features)
        ),
        kept[1],
    )
    moved = State(
        frame=state.frame + 1,
        key_frame=jnp.where(decision.action, state.frame, state.key_frame),
        history=history.push(state.history, decision.action),
        decisions=state.decisions + 1,
        done=state.done,
    )
    step = StreamStep(
        prediction=prediction,
        decision=decision,
        expert=observation.expert,
        key_distance=observation.key_distance,
    )
    return StreamState(moved, *kept), step
