"""Train the key scheduler by REINFORCE with entropy (section 3.2 and 4.2).

    jaxseg train --config=configs/policy.py:synthetic --run=runs/eta06 \
        --config.policy.eta=0.06

`paper` (the default; `vw300` is another name for it) is the paper's recipe to the
letter. `synthetic` is the same recipe with the named options that make it learn within
minutes on two cores: a start at few keys (`key_bias`, `action_scale`), the cap by
budget, the key that breaks the budget unpaid (`pay_break`), leave-one-out advantages,
a larger step that decays and no slow start of RMSProp (`initial_scale`), a smaller
policy, episodes of 150 frames, and pair tables of a pool of clips instead of networks
run on the fly.
"""

import ml_collections

from configs import common


def get_config(arg: str = "paper"):
    arg = common.preset("vw300" if arg == "paper" else arg)
    config = common.base(arg, "policy")
    common.features(config, "bfloat16" if arg == "vw300" else "computed")
    # The run folder that holds N and F.
    config.flow_run = {
        "vw300": "runs/flow",
        "synthetic": "runs/demo/flow",
        "smoke": "runs/smoke/flow",
    }[arg]
    config.policy = {
        "eta": 0.06,  # limit of the key ratio
        # The network.
        "conv_channels": 96,
        "hidden": (1024, 1024, 128),
        "key_bias": 0.0,  # added to the key logit at the start
        "action_scale": 1.0,  # of the last layer's first weights
        # An episode.
        "episode_length": 270,
        "episodes": 8,  # of a mini-batch
        # Of the draw of clips; None = seed, which is also that of weights and actions.
        "clip_seed": ml_collections.config_dict.placeholder(int),
        "trials": 32,  # of an episode
        "discount": 1.0,
        "entropy_cost": 0.14,
        "action_cap": 0.98,  # epsilon
        "cap_by_budget": False,  # 1 - eta / 10 instead of action_cap
        "returns": "reward_to_go",  # or "whole"
        "baseline": "none",  # or "trial_mean", "leave_one_out"
        "log_probability": "policy",  # or "capped", as sampled
        "return_scale": "sum",  # over the steps of a trial; or "mean"
        "entropy_scale": "mean",  # or "sum"
        # Readings of the paper.
        "window": 90,
        "key_ratio": "window",  # or "elapsed", "non_key"
        "key_distance": "window",  # or "frames", "clipped"
        "count_first_frame": False,
        "pay_break": True,
        "pseudo_labels": False,  # Eq. 2
        # Classes in the mean IoU that is paid: in either map, the same without the
        # background ("foreground"), or "all" (in neither map counts 1).
        "score_classes": "present",
        # Where pairs come from: "networks" (on the fly) or "tables" (of a pool).
        "pairs": "networks",
        "pool": 0,  # clips in the pool of tables
        # How it is computed; results are the same up to rounding. "shared" runs
        # networks once for a pair that trials share, "plain" for every trial.
        "rollout": "shared",
        # Memory of a device for deviations that the gradient reads again, GiB; those
        # without room are computed again.
        "kept_gib": 2.0,
    }
    config.train = common.train(300, 8, "rmsprop", 1e-3, "constant")
    config.train.save_every = 10
    del config.train.batch_size  # policy.episodes says it
    if arg != "vw300":
        config.policy.conv_channels = 32
        config.policy.hidden = (128, 128, 64)
        config.policy.key_bias = -3.0
        config.policy.action_scale = 0.1
        config.policy.cap_by_budget = True
        config.policy.pay_break = False
        config.policy.baseline = "leave_one_out"
        config.policy.episode_length = 150
        config.policy.pairs = "tables"
        config.policy.pool = 12
        config.train.steps = 120
        config.train.learning_rate = 2e-3
        config.train.schedule = "cosine"
        config.train.initial_scale = 0.0
    if arg == "smoke":
        config.policy.conv_channels = 8
        config.policy.hidden = (16, 16, 8)
        config.policy.episode_length = 12
        config.policy.window = 6  # a single key breaks the demo's budgets
        config.policy.pay_break = True
        config.policy.eta = 0.4
        config.policy.trials = 4
        config.policy.episodes = 2
        config.policy.pool = 2
        config.train.steps = 2
        config.train.save_every = 1
    return config
