"""Names of FlowNetS in its published checkpoints.

Sources: lmb-freiburg/flownet2 (FlowNet2-S prototxt), NVIDIA/flownet2-pytorch
(networks/FlowNetS.py), sampepose/flownet2-tf (src/flownet_s/flownet_s.py).
"""

from jaxseg.pretrained.rules import Rule, Skip, Table

_PARAMS = "flow/params"
_ENCODER = r"(conv[1-6](?:_1)?)"
_DECONV = r"(deconv[2-5])"
_UPSAMPLE = r"(upsample_flow\dto\d)"
# What TensorFlow's saver keeps of a training.
OF_TRAINING = (
    Skip(r"(.*/)?global_step", "the number of finished training steps"),
    Skip(
        r".*/(Adam(_1)?|Momentum)|(.*/)?beta[12]_power(_\d)?", "the optimizer's memory"
    ),
)


def tensorflow(scope: str) -> tuple[Rule, ...]:
    """Return the rules of slim's layers below a variable scope; images are BGR."""
    return (
        Rule(f"{scope}/conv1/weights", f"{_PARAMS}/conv1/kernel", ("bgr",)),
        Rule(rf"{scope}/(\w+)/weights", rf"{_PARAMS}/\1/kernel"),
        Rule(rf"{scope}/(\w+)/biases", rf"{_PARAMS}/\1/bias"),
    )


# The thin net has a small s in DVSNet, which adds a head for the scale field to it.
TENSORFLOW = Table(
    tensorflow("FlowNet[sS]"),
    (
        *OF_TRAINING,
        Skip("FlowNets/predict_scale/.*", "the scale field of some classes"),
    ),
)

# The converter of NVIDIA turned BGR into RGB.
TORCH = Table(
    (
        Rule(rf"{_ENCODER}\.0\.weight", rf"{_PARAMS}/\1/kernel", ("conv",)),
        Rule(rf"{_DECONV}\.0\.weight", rf"{_PARAMS}/\1/kernel", ("conv",)),
        Rule(rf"(?:{_ENCODER}|{_DECONV})\.0\.bias", rf"{_PARAMS}/\1\2/bias"),
        Rule(r"(predict_flow\d)\.weight", rf"{_PARAMS}/\1/kernel", ("conv",)),
        Rule(r"(predict_flow\d)\.bias", rf"{_PARAMS}/\1/bias"),
        Rule(
            r"upsampled_flow(\d)_to_(\d)\.weight",
            rf"{_PARAMS}/upsample_flow\1to\2/kernel",
            ("conv",),
        ),
    ),
)

# Convolution1 is the flow of the coarsest level, 6.
_HEADS = tuple(
    rule
    for index in range(1, 6)
    for rule in (
        Rule(
            f"Convolution{index}/0",
            f"{_PARAMS}/predict_flow{7 - index}/kernel",
            ("conv",),
        ),
        Rule(
            f"Convolution{index}/1",
            f"{_PARAMS}/predict_flow{7 - index}/bias",
            ("vector",),
        ),
    )
)
_MEANS = tuple(
    Rule(
        f"img{index}s_aug/2",
        f"flow/batch_stats/{role}_mean",
        ("vector", "flip"),
    )
    for index, role in enumerate(("current", "key"))
)
CAFFE = Table(
    (
        Rule("conv1/0", f"{_PARAMS}/conv1/kernel", ("conv", "bgr")),
        Rule(f"{_ENCODER}/0", rf"{_PARAMS}/\1/kernel", ("conv",)),
        Rule(f"{_ENCODER}/1", rf"{_PARAMS}/\1/bias", ("vector",)),
        Rule(f"{_DECONV}/0", rf"{_PARAMS}/\1/kernel", ("conv",)),
        Rule(f"{_UPSAMPLE}/0", rf"{_PARAMS}/\1/kernel", ("conv",)),
        *_HEADS,
        *_MEANS,
    ),
    (
        Skip(f"(?:{_DECONV}|{_UPSAMPLE})/1", "a bias that is never trained", zero=True),
        Skip(r"img[01]s_aug/[01]", "the counter and the map of a mean over places"),
        Skip(r"scale_conv1/[01]", "the size of the image that was deployed for"),
    ),
)
