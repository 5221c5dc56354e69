"""Compare schedulers by their AKI-mIoU curve (Figure 4 of the paper).

    jaxseg evaluate --config=configs/evaluate.py:synthetic --run=runs/curve

Writes curve.csv, curve.png and comparison.json into the run folder. All policies must
have learned on the same N and F.
"""

from configs import common


def get_config(arg: str = "vw300"):
    arg = common.preset(arg)
    config = common.base(arg, "evaluate")
    common.features(config, "computed")
    config.policy_runs = {
        "vw300": ("runs/eta04", "runs/eta06", "runs/eta14"),
        "synthetic": ("runs/demo/eta06", "runs/demo/eta14"),
        "smoke": ("runs/smoke/policy",),
    }[arg]
    config.split = "C"
    # Streams longer than this are cut; 0 = whole videos. All pairs of a clip are
    # computed, so the work grows with the square of it.
    config.clip_length = 270
    config.fixed = (1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 90, 120)
    config.random = (0.5, 0.3, 0.2, 0.14, 0.1, 0.07, 0.05, 0.033, 0.022, 0.015, 0.01)
    config.thresholds = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.7, 0.9)
    config.draws = 32  # rollouts of random keys and of sampled policies
    # Readings of the paper.
    config.score_classes = "present"  # in the mean IoU; or "foreground", "all"
    config.count_first_frames = True  # in the AKI; they are key by rule
    config.optimum_budget = "split"  # keys of the optimum: of the split, or "video"
    config.title = "300VW, set C, in clips of at most 270 frames"
    if arg != "vw300":
        config.clip_length = 0
        config.thresholds = (
            *(0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08),
            *(0.1, 0.13, 0.17, 0.22, 0.3, 0.4, 0.5),
        )
        config.title = "Synthetic face videos (rendered), set C"
    if arg == "smoke":
        config.fixed = (1, 2, 4)
        config.random = (0.9, 0.3, 0.05)
        config.thresholds = (0.1, 0.5)
        config.draws = 2
    return config
