"""Score segmentation networks and F on a split (Table 1 of the paper).

    jaxseg evaluate --config=configs/table1.py:synthetic --run=runs/table1

Writes table1.csv into the run folder: mean IoU and frames a second of every network,
each at every list of scales, and of F between frames 1 to 30 apart.
"""

from configs import common


def get_config(arg: str = "vw300"):
    arg = common.preset(arg)
    config = common.base(arg, "table1")
    # Run folders or model files; each holds a segmenter.
    config.segmenters = {
        "vw300": ("runs/segmenter",),
        "synthetic": ("runs/demo/segmenter",),
        "smoke": ("runs/smoke/segmenter",),
    }[arg]
    # Images are seen at every scale of a list and the posteriors averaged.
    config.scales = ((1.0,), (1.25, 1.75))
    config.flip = False
    config.flow_run = {  # N and F; "" leaves the row of F out
        "vw300": "runs/flow",
        "synthetic": "runs/demo/flow",
        "smoke": "runs/smoke/flow",
    }[arg]
    config.max_gap = 30
    config.split = "C"
    config.frames = 2_400  # evenly spaced
    config.pairs = 6_671
    config.batch_size = 8
    if arg != "vw300":
        config.frames = 240
        config.pairs = 480
    if arg == "smoke":
        config.frames = 4
        config.pairs = 4
        config.batch_size = 4
        config.scales = ((1.0,), (1.25, 1.75))
    return config
