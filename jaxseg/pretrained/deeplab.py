"""Names of TensorFlow DeepLab's checkpoints (tensorflow/models, research/deeplab).

Module names of ours are the variable scopes of theirs, so few rules do.
"""

from jaxseg.pretrained.rules import Rule, Skip, Table

# Of slim's batch norm: their name of a leaf -> our collection and name.
NORM = {
    "gamma": ("params", "scale"),
    "beta": ("params", "bias"),
    "moving_mean": ("batch_stats", "mean"),
    "moving_variance": ("batch_stats", "var"),
}


def scope(source: str, target: str, part: str = "segmenter") -> tuple[Rule, ...]:
    """Return the rules of slim's layers below a variable scope.

    Args:
      source: regular expression of the scope.
      target: path of our module, with references to the groups of `source`.
      part: of the model.
    """
    leaves = [
        Rule(f"{source}/weights", f"{part}/params/{target}/kernel"),
        Rule(f"{source}/biases", f"{part}/params/{target}/bias"),
        Rule(
            f"{source}/depthwise_weights",
            f"{part}/params/{target}/kernel",
            ("depthwise",),
        ),
    ]
    leaves += [
        Rule(
            f"{source}/BatchNorm/{theirs}",
            f"{part}/{collection}/{target}/BatchNorm/{ours}",
        )
        for theirs, (collection, ours) in NORM.items()
    ]
    return tuple(leaves)


TABLE = Table(
    rules=(
        *scope(r"((?:MobilenetV2|xception_\d+|resnet_v1_\d+)/.+)", r"\1"),
        *scope(
            r"(image_pooling|aspp\d+(?:_depthwise|_pointwise)?|concat_projection)",
            r"aspp/\1",
        ),
        *scope(r"(decoder/.+)", r"\1"),
        *scope(r"logits/semantic", r"logits/semantic"),
    ),
    skips=(
        Skip("global_step", "the number of finished training steps"),
        Skip(r".*/(Momentum|RMSProp(_1)?|Adam(_1)?)", "the optimizer's memory"),
        Skip(r"(.*/)?beta[12]_power(_\d)?", "the optimizer's memory"),
        Skip(r".*/ExponentialMovingAverage", "means of what is there itself"),
        Skip(r"(xception_\d+|resnet_v1_\d+)/logits/.*", "ImageNet's classifier"),
        Skip(r"MobilenetV2/(Conv_1|Logits)/.*", "ImageNet's classifier"),
        Skip(r"resnet_v1_\d+/mean_rgb", "a constant of the preparation"),
    ),
)
