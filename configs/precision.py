"""Say what bfloat16 changes: trained networks on the same frames in both precisions.

    jaxseg evaluate --config=configs/precision.py:synthetic --run=runs/precision

Writes precision.json into the run folder: how far N's mean IoU, the mean IoU of
propagated frames, the flow and the policies' key probabilities differ. On a CPU
bfloat16 is slow, and XLA leaves out some of the roundings unless the environment has

    XLA_FLAGS=--xla_allow_excess_precision=false
"""

from configs import common


def get_config(arg: str = "vw300"):
    arg = common.preset(arg)
    config = common.base(arg, "precision")
    config.policy_runs = {
        "vw300": ("runs/eta04", "runs/eta06", "runs/eta14"),
        "synthetic": ("runs/demo/eta06", "runs/demo/eta14"),
        "smoke": ("runs/smoke/policy",),
    }[arg]
    config.split = "C"
    config.clips = 12  # evenly spaced over the split
    config.clip_length = 60
    config.pairs = 400  # of a clip, drawn
    if arg == "smoke":
        config.clips = 2
        config.clip_length = 12
        config.pairs = 20
    return config
