"""The heart as a library: environment, rollout, schedulers, optimum and stream.

Everything here is a pure function of arrays and of the functions that the caller
passes in; nothing here knows a network, a data set or a config.
"""

from jaxseg.dynamic.environment import (
    key_features,
    networks_pair,
    observe,
    prepare,
    reset,
    step,
)
from jaxseg.dynamic.hosted import rollout_hosted
from jaxseg.dynamic.optimum import Optimum, combine, dense_scores, optimum
from jaxseg.dynamic.pairs import (
    PairTable,
    PooledEpisode,
    all_pairs,
    build_table,
    evaluate_pairs,
    pooled_pair,
    tabled_pair,
)
from jaxseg.dynamic.population import (
    SharedTrajectory,
    rollout_episodes,
    rollout_population,
)
from jaxseg.dynamic.propagation import propagate, propagate_image
from jaxseg.dynamic.rollout import rollout, rollout_trials, trial_rngs
from jaxseg.dynamic.schedulers import (
    Policy,
    PolicyFn,
    fixed_interval,
    halves,
    memoryless,
    random_rate,
    replay,
    sampled,
    thresholded,
)
from jaxseg.dynamic.sharing import DEFAULT_SHARING, Distinct, Seen, Sharing
from jaxseg.dynamic.stream import StreamState, StreamStep, open_stream, segment_frame
from jaxseg.dynamic.types import (
    KEY,
    NON_KEY,
    Clip,
    Decision,
    Episode,
    Framework,
    Observation,
    Pair,
    PairFn,
    RolloutParams,
    Rules,
    Scheduler,
    State,
    Trajectory,
)

__all__ = [
    "DEFAULT_SHARING",
    "KEY",
    "NON_KEY",
    "Clip",
    "Decision",
    "Distinct",
    "Episode",
    "Framework",
    "Observation",
    "Optimum",
    "Pair",
    "PairFn",
    "PairTable",
    "Policy",
    "PolicyFn",
    "PooledEpisode",
    "RolloutParams",
    "Rules",
    "Scheduler",
    "Seen",
    "SharedTrajectory",
    "Sharing",
    "State",
    "StreamState",
    "StreamStep",
    "Trajectory",
    "all_pairs",
    "build_table",
    "combine",
    "dense_scores",
    "evaluate_pairs",
    "fixed_interval",
    "halves",
    "key_features",
    "memoryless",
    "networks_pair",
    "observe",
    "open_stream",
    "optimum",
    "pooled_pair",
    "prepare",
    "propagate",
    "propagate_image",
    "random_rate",
    "replay",
    "reset",
    "rollout",
    "rollout_episodes",
    "rollout_hosted",
    "rollout_population",
    "rollout_trials",
    "sampled",
    "segment_frame",
    "step",
    "tabled_pair",
    "thresholded",
    "trial_rngs",
]
