"""Train the image segmentation network N (section 4.2).

    jaxseg train --config=configs/segmenter.py:synthetic --run=runs/segmenter

Presets: `vw300` is DeepLab-V3+ at 513 x 513 with DeepLab's published schedule (SGD
with momentum, poly, 30,000 steps of 8; weight decay 4e-5; batch norm needs a batch of
12 or more, hence 16 here). `synthetic` is the demo's, minutes on two cores. `smoke`
is for tests.
"""

from configs import common


def get_config(arg: str = "vw300"):
    arg = common.preset(arg)
    config = common.base(arg, "segmenter")
    config.segmenter = common.segmenter(arg)
    common.begin(config)
    config.train = common.train(30_000, 16, "sgd", 7e-3, "poly")
    config.train.weight_decay = 4e-5
    config.train.save_every = 1_000
    config.train.eval_every = 1_000
    config.augment = {
        "min_scale": 0.5,
        "max_scale": 2.0,
        "scale_step": 0.25,
        "flip": 0.5,
        "brightness": 0.0,
        "contrast": 0.0,
    }
    # Smaller batches keep the statistics of the start; DeepLab does so below 12.
    config.freeze_batch_norm_below = 0
    config.label_weights = ()  # of the classes in the loss; empty = all 1
    config.eval_frames = 512  # held-out frames that the mean IoU is measured on
    if arg != "vw300":
        config.train = common.train(360, 16, "adam", 3e-3, "poly")
        config.train.save_every = 60
        # Eyes and mouth are one pixel in a hundred.
        config.label_weights = (1.0, 1.0, 4.0, 4.0, 8.0)
        config.augment.min_scale = 0.75
        config.augment.max_scale = 1.25
        config.augment.brightness = 0.1
        config.augment.contrast = 0.2
        config.eval_frames = 128
    if arg == "smoke":
        # Just enough that it tells skin from background somewhere.
        config.train = common.train(8, 4, "adam", 1e-2, "poly")
        config.train.save_every = 2
        config.eval_frames = 8
    return config
