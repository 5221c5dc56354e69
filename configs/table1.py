"""Score segmentation networks and F on a split (Table 1 of the paper).

    jaxseg evaluate --config=configs/table1.py:synthetic --run=runs/table1

Writes table1.csv into the run folder: mean IoU and frames a second of every network,
each at every list of scales, and of F between frames 1 to 30 apart.

    --config.input_size=513 --config.output_stride=8

scores networks at another size and output stride than their files name.
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
    # Of the networks N; 0 = the model file's own. F keeps its own.
    config.input_size = 0
    config.output_stride = 0  # 8 sees more and costs more, with the same weights
    config.score_classes = "present"  # in the mean IoU; or "foreground", "all"
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
    return config
