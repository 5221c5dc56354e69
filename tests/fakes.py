"""A dynamic segmentation framework made of arithmetic, so that answers are known.

A frame is an image [1, 1, 1] that carries one number x. The key feature is x, motion
is x_i - x_k, propagation keeps the key feature and adds half of the motion, and the
score of a prediction y against a target x is exp(-|y - x|).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import dynamic

VARIABLES = {"gain": jnp.float32(0.5)}

FRAMEWORK = dynamic.Framework(
    feature_fn=lambda variables, image: image[0, 0, 0],
    task_fn=lambda variables, features: features,
    view_fn=lambda variables, image: image[0, 0, 0],
    motion_fn=lambda variables, view, key_view: variables["gain"] * (view - key_view),
    deviation_fn=lambda motion: jnp.stack([motion, jnp.abs(motion)]),
    propagate_fn=lambda motion, features: features + motion,
)


def score(prediction, target):
    return jnp.exp(-jnp.abs(prediction - target))


PAIR = dynamic.networks_pair(FRAMEWORK, score)


def clip(seed: int, num_frames: int) -> dynamic.Clip:
    """A random walk that a key frame follows with a little error of its own."""
    draw = np.random.default_rng(seed)
    x = np.cumsum(draw.normal(0, 0.3, num_frames)).astype(np.float32)
    labels = x + draw.normal(0, 0.05, num_frames).astype(np.float32)
    return dynamic.Clip(jnp.asarray(x)[:, None, None, None], jnp.asarray(labels))


def episode(seed: int = 0, num_frames: int = 20) -> dynamic.Episode:
    return dynamic.prepare(FRAMEWORK, VARIABLES, clip(seed, num_frames), score_fn=score)


def policy(variables, observation):
    """A small policy: logits [2] from the deviation and the expert information."""
    inputs = jnp.concatenate([observation.deviation, observation.expert])
    return inputs @ variables["kernel"] + variables["bias"]


def policy_variables(seed: int = 0):
    return {
        "kernel": jax.random.normal(jax.random.key(seed), (4, 2)),
        "bias": jnp.array([0.5, 0.0]),
    }


def params(scheduler, budget=jnp.inf) -> dynamic.RolloutParams:
    return dynamic.RolloutParams(VARIABLES, scheduler, jnp.float32(budget))
