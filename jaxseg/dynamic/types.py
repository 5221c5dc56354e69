"""The vocabulary of dynamic video segmentation: what is fixed, what an agent changes.

T frames; the letters of the paper are k (last key frame) and i (current frame).
Everything here is for one video and one trial; batches are made with `jax.vmap`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from jaxseg.types import Array, Params, PRNGKey, Variables

NON_KEY = 0  # a_0 of the paper
KEY = 1  # a_1 of the paper


class Framework(NamedTuple):
    """A dynamic segmentation framework as six pure functions (static under jit).

    The thing propagated (`feature_fn`), the propagation (`propagate_fn`) and the
    deviation feature (`deviation_fn`) are separate, so that a scheduler can sit on
    another framework than deep feature flow. Section 3.1 of the paper.
    """

    # N_feat: variables, image [H, W, 3] -> features (any pytree)
    feature_fn: Callable[[Variables, Array], Any]
    # N_task: variables, features -> prediction (here a class map [H, W])
    task_fn: Callable[[Variables, Any], Any]
    # What motion needs of one frame, computed once: variables, image -> view
    view_fn: Callable[[Variables, Array], Any]
    # F: variables, view of frame i, view of key frame k -> motion (any pytree)
    motion_fn: Callable[[Variables, Any, Any], Any]
    # D_{i->k}: motion -> what a scheduler sees of the pair
    deviation_fn: Callable[[Any], Any]
    # W: motion, key features -> features of frame i
    propagate_fn: Callable[[Any, Any], Any]


class Clip(NamedTuple):
    """Consecutive frames of one video."""

    images: Array  # [T, H, W, 3] RGB 0..255
    labels: Array | None  # [T, H, W] classes, 255 ignored; None where unlabelled
    # What N alone makes of the frames, where it was computed before.
    features: Any = None  # [T, ...]
    key_scores: Array | None = None  # [T] U_a1


class Episode(NamedTuple):
    """All that no action can change, computed once and shared by every trial."""

    views: Any  # [T, ...]
    features: Any  # [T, ...] features of every frame as a key frame
    targets: Any  # [T, ...] labels, or key predictions (Eq. 2)
    key_scores: Array  # [T] U_a1


class Pair(NamedTuple):
    """All that depends on a pair (k, i) alone."""

    deviation: Any  # D_{i->k}
    non_key_score: Array  # [] U_a0, the score of frame i propagated from k


class Rules(NamedTuple):
    """Readings of the paper that a trial runs under (static; hashable)."""

    window: int = 90  # decisions that the history holds
    key_ratio: str = "window"  # "window" | "elapsed" | "non_key"
    key_distance: str = (
        "window"  # LKD fed to the policy: "window" | "frames" | "clipped"
    )
    count_first_frame: bool = False  # the first key enters the history
    pay_break: bool = True  # the key that breaks the budget is paid


DEFAULT_RULES = Rules()


class State(NamedTuple):
    """All that an agent's actions change."""

    frame: Array  # [] int32, i: the frame to be decided next
    key_frame: Array  # [] int32, k
    history: Array  # [window] bool, newest last
    decisions: Array  # [] int32, entries of the history that are real
    done: Array  # [] bool, the key ratio has exceeded the budget


class Observation(NamedTuple):
    """All that a scheduler may see at frame i."""

    deviation: Any  # what the scheduler's `look` makes of D_{i->k}
    expert: Array  # [2] E_i: key ratio (KAR), scaled key distance (LKD)
    key_distance: Array  # [] int32, i - k in frames
    frame: Array  # [] int32, i


class Decision(NamedTuple):
    action: Array  # [] bool, True = key
    key_probability: Array  # [] in 0..1


class Scheduler(NamedTuple):
    """Decides key or non-key; what it remembers is reset at every key.

    Because the memory restarts at a key, all that a scheduler knows beside the
    history is a function of the stretch (k, i).
    """

    # params -> memory right after a key frame (any pytree; None for none)
    start: Callable[[Params], Any]
    # params, rng, observation, memory -> decision, memory
    decide: Callable[[Params, PRNGKey, Observation, Any], tuple[Decision, Any]]
    # params, D_{i->k} -> what `decide` is shown of the pair (any pytree). Most of a
    # network's work belongs here: trials that share a pair share it.
    look: Callable[[Params, Any], Any] = lambda params, deviation: deviation


class PairFn(Protocol):
    """Where pairs come from: networks run on the fly, or a table."""

    def __call__(
        self, variables: Any, episode: Any, key_frame: Array, frame: Array
    ) -> Pair: ...


class RolloutParams(NamedTuple):
    """Traced arguments: changing their values never triggers a recompile."""

    framework: Any  # variables of the networks, or a pool of pair tables
    scheduler: Params
    budget: Array  # [] eta; infinity switches the stop rule off


class Trajectory(NamedTuple):
    """One trial, a row for each of the T - 1 decisions (frames 1 .. T-1)."""

    frame: Array  # [T-1] int32
    key_frame: Array  # [T-1] int32, the last key before the decision
    action: Array  # [T-1] bool
    key_probability: Array  # [T-1]
    expert: Array  # [T-1, 2] key ratio, scaled key distance
    reward: Array  # [T-1] Eq. 1
    score: Array  # [T-1] of the segmentation that the action gives
    valid: Array  # [T-1] bool, the trial was still alive
