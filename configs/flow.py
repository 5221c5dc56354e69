"""Train the flow network F with N frozen (section 4.2; Deep Feature Flow).

    jaxseg train --config=configs/flow.py:synthetic --run=runs/flow

Key-current pairs 1 to 30 frames apart, loss on the propagated segmentation. The paper
starts from published FlowNet 2.0 weights. Training from nothing, the first
`warmup_steps` learn exact, random smooth motion of single frames; for `vw300` that
share of the steps was taken over from `synthetic` and not measured.

`cityscapes` has pairs of at most 9 frames, as DVSNet has, of which the later one is
annotated; its frames are seen whole, N's at their size and F's at half of it. DVSNet
has pairs of a frame with itself too. It takes snippets: leftImg8bit_sequence. Nobody
has run it on the data yet.
"""

from configs import common


def get_config(arg: str = "vw300"):
    arg = common.preset(arg, "cityscapes")
    config = common.base(arg, "flow")
    # The run folder that holds N.
    config.segmenter_run = {
        "vw300": "runs/segmenter",
        "cityscapes": "runs/cityscapes",
        "synthetic": "runs/demo/segmenter",
        "smoke": "runs/smoke/segmenter",
    }[arg]
    config.flow = common.flow(arg)
    common.begin(config)
    config.max_gap = 30
    config.warmup_steps = 20_000
    config.warmup_motion = 0.07  # largest displacement, in widths of the frame
    config.flip = True
    config.eval_pairs = 512
    config.train = common.train(30_000, 16, "adam", 1e-4, "poly")
    config.train.save_every = 1_000
    config.train.eval_every = 1_000
    if arg == "cityscapes":
        config.max_gap = 9
        config.train.batch_size = 4
        config.eval_pairs = 500
    elif arg != "vw300":
        config.warmup_steps = 1000
        config.train = common.train(1600, 16, "adam", 2e-3, "poly")
        config.train.save_every = 200
        config.eval_pairs = 128
    if arg == "smoke":
        config.warmup_steps = 2
        config.train = common.train(4, 4, "adam", 1e-3, "poly")
        config.train.save_every = 2
        config.eval_pairs = 8
    return config
