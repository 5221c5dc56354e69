"""What rollouts are timed on: fresh networks of the real kinds, drawn frames.

Nothing here is trained: a rollout's work depends on sizes and on how often, and how
alike, the trials take keys, and both are set by hand.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build, dynamic
from jaxseg.benchmark import workload
from jaxseg.types import PRNGKey

CLASSES = 5
CAP = 0.994  # 1 - eta / 10
WINDOW = 90
FLOW = {"base_channels": 24, "border": "clamp"}  # FlowNet2-s
_HALF = np.array([-0.5, 0.5], np.float32)


class Scene(NamedTuple):
    """F, a policy and prepared episodes."""

    settings: dict[str, dict[str, Any]]
    variables: dict[str, Any]  # of F
    episodes: Any  # [E, ...]
    deviation: tuple[int, ...]  # shape of what F says of a pair
    pair_fn: dynamic.PairFn
    policy: dynamic.Policy
    rules: dynamic.Rules


class Habit(NamedTuple):
    """How often a policy takes keys: the logit of a key less that of none."""

    name: str
    budget: float
    offset: float  # without any history, on average
    restraint: float  # less, times the key ratio
    lean: float  # standard deviation over frames, the same for all trials


# A policy at its start.
EARLY = Habit("early", 0.06, 0.0, 0.0, 0.0)
# One that has learned which frames matter and to stay below the limit: most trials take
# their keys at the same frames. And one that has learned the limit alone, so that every
# trial goes its own way.
LATE = Habit("late", 0.06, -10.0, 200.0, 10.0)
UNDECIDED = Habit("late, undecided", 0.06, -2.0, 70.0, 0.0)


def make(
    size: int,
    frames: int,
    episodes: int,
    seed: int = 0,
    variables: Any = None,
    precision: str = "float32",
) -> Scene:
    """Return a scene of E episodes of `frames` frames of `size` x `size` pixels.

    F is FlowNet2-s and the policy the paper's. What N would have found is drawn: its
    work is done before a rollout, and an untrained N is so undecided that rounding
    decides for it.

    Args:
      variables: those of another scene, which do not depend on its size; fresh ones if
        None.
      precision: that networks are computed in.
    """
    settings = {
        "segmenter": {
            "architecture": "deeplab_v3plus",
            "backbone": "mobilenet_v2",
            "num_classes": CLASSES,
            "input_size": size,
        },
        "flow": {**FLOW, "num_classes": CLASSES, "input_size": size},
        "policy": workload.PAPER_POLICY,
    }
    variables = variables or {"flow": build.init(settings, "flow", seed)}
    made = [
        _episode(settings, variables, size, frames, seed + index, precision)
        for index in range(episodes)
    ]
    return Scene(
        settings,
        variables,
        jax.tree.map(lambda *x: jnp.stack(x), *made),
        build.deviation_shape(settings),
        build.pair_fn(settings, precision=precision),
        policy_of(settings, precision),
        dynamic.Rules(window=WINDOW),
    )


def policy_only(shape: tuple[int, int, int], frames: int, seed: int = 0) -> Scene:
    """Return a scene without networks: a table of drawn pairs of one episode.

    Args:
      shape: of a deviation, (h6, w6, c6).
    """
    settings = {"policy": workload.PAPER_POLICY}
    draw = np.random.default_rng(seed)
    pairs = frames * (frames - 1) // 2
    table = dynamic.PairTable(
        draw.standard_normal((pairs, *shape), np.float32).astype(np.float16),
        draw.uniform(0.5, 0.7, pairs).astype(np.float32),
        draw.uniform(0.6, 0.8, frames).astype(np.float32),
    )
    return Scene(
        settings,
        {},
        jax.tree.map(lambda x: jnp.asarray(x)[None], table),
        shape,
        dynamic.tabled_pair,
        policy_of(settings),
        dynamic.Rules(window=WINDOW),
    )


def policy_variables(
    scene: Scene, habit: Habit, seed: int = 0, lean_seed: int = 0
) -> dict[str, Any]:
    """Return a policy with drawn weights that has a habit, whatever it sees.

    What it sees still goes through all of its layers.

    Args:
      lean_seed: of the frames that it leans to.
    """
    net = _policy_init(scene.settings, scene.deviation)(jax.random.key(seed))
    last = net["params"][f"FC{len(scene.settings['policy']['hidden'])}"]
    last["kernel"] = (1e-6 * last["kernel"]).at[-2].set(-habit.restraint * _HALF)
    last["bias"] = habit.offset * _HALF
    frames = scene.episodes.key_scores.shape[1]
    lean = np.random.default_rng(lean_seed).normal(0.0, habit.lean, frames)
    return {"net": net, "lean": jnp.asarray(lean, jnp.float32)}


@build.cached("policy")
def _policy_init(settings, shape: tuple[int, ...]) -> Callable[[PRNGKey], Any]:
    """Return the function that draws a policy for deviations of a shape."""
    module = build.policy_net(settings)

    def draw(rng):
        number = jnp.zeros(1)
        return module.init(rng, jnp.zeros((1, *shape)), number, number)

    return jax.jit(draw)


def policy_of(
    settings: dict[str, dict[str, Any]], precision: str = "float32"
) -> dynamic.Policy:
    """Return the policy network, to whose logits what frames lean to is added."""
    net = build.policy_fn(settings, precision)

    def head(variables, observation):
        lean = variables["lean"][observation.frame]
        return net.head(variables["net"], observation) + lean * _HALF

    return dynamic.Policy(
        lambda variables, deviation: net.trunk(variables["net"], deviation), head
    )


def rngs(seed: int, episodes: int, trials: int) -> PRNGKey:
    """Return the keys of K trials of each of E episodes, [E, K]."""
    rng = jax.random.key(seed)
    of_trials = functools.partial(dynamic.trial_rngs, trials=jnp.arange(trials))
    return jax.vmap(lambda e: of_trials(jax.random.fold_in(rng, e)))(
        jnp.arange(episodes)
    )


def _episode(settings, variables, size, frames, seed, precision) -> dynamic.Episode:
    """Draw an episode, and what an N with some error says of its frames."""
    draw = np.random.default_rng(seed)
    blocks, colors = _blocks(draw, frames)
    labels = jnp.asarray(_enlarge(blocks, size), jnp.uint8)
    images = jnp.asarray(colors[np.asarray(labels)])
    grid = _enlarge(blocks, (size - 1) // 4 + 1)
    certain = 4.0 * np.eye(CLASSES)[grid] + draw.normal(size=(*grid.shape, CLASSES))
    features = jax.nn.softmax(jnp.asarray(certain, jnp.float32))
    framework = build.framework(settings, precision)
    score = build.score_fn(settings)

    def key_score(features_and_label):
        features, label = features_and_label
        return score(framework.task_fn(variables, features), label)

    view = functools.partial(framework.view_fn, variables)
    return dynamic.Episode(
        jax.lax.map(view, images),
        features,
        labels,
        jax.lax.map(key_score, (features, labels)),
    )


def images(size: int, frames: int, seed: int = 0) -> np.ndarray:
    """Return drawn frames, [T, size, size, 3] uint8."""
    blocks, colors = _blocks(np.random.default_rng(seed), frames)
    return colors[_enlarge(blocks, size)]


def _blocks(draw, frames) -> tuple[np.ndarray, np.ndarray]:
    """Draw blocks [T, 8, 8] of classes that move to the side, and their colors."""
    row = draw.integers(0, CLASSES, (8, 8 + frames))
    blocks = np.stack([row[:, t : t + 8] for t in range(frames)])
    return blocks, draw.integers(0, 256, (CLASSES, 3)).astype(np.uint8)


def _enlarge(blocks: np.ndarray, size: int) -> np.ndarray:
    """Return squares [..., n, n] as [..., size, size]."""
    index = np.arange(size) * blocks.shape[-1] // size
    return blocks[..., index, :][..., index]
