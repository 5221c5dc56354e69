"""Groups that several configurations share. Paper values are literals here."""

import ml_collections

PRESETS = ("vw300", "synthetic", "smoke")


def preset(arg: str, *more: str) -> str:
    """Check the argument of a configuration file (`file.py:preset`).

    more: presets that the file has beside those of all files.
    """
    known = (*PRESETS, *more)
    if arg not in known:
        raise ValueError(f"preset {arg!r}; expected one of: {', '.join(known)}")
    return arg


def base(arg: str, stage: str) -> ml_collections.ConfigDict:
    """Return what every stage has: data, seed, where and how it runs."""
    config = ml_collections.ConfigDict()
    config.stage = stage
    config.seed = 0

    config.data = ml_collections.ConfigDict()
    # A folder that `jaxseg dataset prepare` wrote.
    config.data.prepared = {
        "vw300": "data/300vw",
        "cityscapes": "data/cityscapes",
        "synthetic": "runs/demo/data",
        "smoke": "runs/smoke/data",
    }[arg]

    # Keep decoded frames in memory.
    config.data.cache = arg not in ("vw300", "cityscapes")

    # Where it runs and what it prints; may differ when a run is continued.
    config.runtime = ml_collections.ConfigDict()
    config.runtime.devices = 0  # of all processes together; 0 = all there are
    config.runtime.how = "pmap"  # or "shard_map"
    # Of networks: "float32", "bfloat16", or "auto", which is bfloat16 on a GPU.
    config.runtime.precision = "auto"
    # Several processes; where `srun` started them, Slurm says all this.
    config.runtime.coordinator = ""  # host:port of the first one
    config.runtime.processes = 0  # how many; 1 = this one alone, Slurm or not
    config.runtime.process = -1  # which one this is, from 0
    config.runtime.device_ids = ()  # its GPUs, of the node's; () = all
    config.log = ml_collections.ConfigDict()
    config.log.every = 10
    config.log.tensorboard = False
    config.log.trace = 0  # updates to write a profiler's trace of, to trace/
    return config


def features(config: ml_collections.ConfigDict, how: str) -> None:
    """Add what becomes of what N makes of the frames of a split.

    how: "computed" runs N whenever it is needed; "float32" (the same results),
    "bfloat16" and "uint8" (rounded) run it once and store its features and scores.
    """
    config.data.features = how
    # Where they are stored; "" = `features` in the prepared folder.
    config.runtime.features_folder = ""


def segmenter(arg: str) -> ml_collections.ConfigDict:
    """Architecture of N: DeepLab-V3+, output stride 16, decoder stride 4."""
    group = ml_collections.ConfigDict()
    group.architecture = "deeplab_v3plus"
    group.num_classes = 5
    group.backbone = "mobilenet_v2"  # or xception_65, resnet_v1_50_beta, ...
    group.width = 1.0  # of MobileNet
    group.width_divisor = 8  # of its channels; 1 for DeepLab's own narrow networks
    group.multi_grid = (1, 1, 1)  # rates in the last block of Xception and ResNet
    group.output_stride = 16
    group.decoder = True
    group.aspp_rates = (6, 12, 18)
    group.aspp_separable = True
    group.aspp_channels = 256
    group.decoder_separable = True
    group.decoder_channels = 256
    group.low_level_channels = 48
    group.dropout = 0.1
    group.bn_momentum = 0.0  # 0 = the published 0.997 and 0.9997
    group.input_size = 513
    if arg != "vw300":
        group.width = 0.5
        group.aspp_rates = (2, 4)
        group.aspp_channels = 64
        group.decoder_channels = 48
        group.low_level_channels = 24
        group.bn_momentum = 0.95
        group.input_size = 97
    if arg == "smoke":
        group.width = 0.25
        group.aspp_channels = 16
        group.decoder_channels = 16
        group.low_level_channels = 8
        group.bn_momentum = 0.5  # or the averages would not leave their start
        group.input_size = 65
    return group


def flow(arg: str) -> ml_collections.ConfigDict:
    """Architecture of F: FlowNet2-s (thin); 64 base channels give FlowNet2-S."""
    group = ml_collections.ConfigDict()
    group.base_channels = 24
    group.normalisation = "fixed"  # "pair" as NVIDIA, "stored" as Caffe
    group.mean = (0.0, 0.0, 0.0)  # taken off RGB where fixed; DVSNet takes none
    group.deconv_bias = False  # True for weights of NVIDIA
    group.head = "dvsnet"  # or "dff", at half the resolution
    group.halve_input = False  # True for Deep Feature Flow
    group.border = "clamp"  # or "zero"
    # Half of a street frame's sides, as DVSNet.
    group.input_size = (512, 1024) if arg == "cityscapes" else 513
    if arg not in ("vw300", "cityscapes"):
        group.base_channels = 12
        group.mean = (123.15, 115.9, 103.06)  # Deep Feature Flow's
        group.input_size = 49
    if arg == "smoke":
        group.base_channels = 4
        group.input_size = 33
    return group


def begin(config: ml_collections.ConfigDict) -> None:
    """Add where a training of N or F starts."""
    config.init_from = ""  # a model file or run folder; "" = fresh weights
    config.new_head = False  # the classifier starts fresh, for other classes


def train(
    steps: int, batch_size: int, optimizer: str, learning_rate: float, schedule: str
) -> ml_collections.ConfigDict:
    """How a stage is trained."""
    group = ml_collections.ConfigDict()
    group.steps = steps
    group.batch_size = batch_size
    group.optimizer = optimizer  # "rmsprop" | "adam" | "sgd"
    group.learning_rate = learning_rate
    group.schedule = schedule  # "constant" | "poly" | "cosine"
    group.slow_start_steps = 0  # first steps at slow_start_rate
    group.slow_start_rate = 1e-4
    group.momentum = 0.9
    group.weight_decay = 0.0
    group.bias_multiplier = 1.0  # of the gradients of biases
    group.head_multiplier = 1.0  # and of the classifier's
    group.clip_norm = 0.0
    # RMSProp as TensorFlow 1 has it.
    group.decay = 0.9
    group.epsilon = 1e-10
    group.initial_scale = 1.0  # its first accumulator
    group.save_every = 100
    group.eval_every = 0  # 0 = at the end only
    return group
