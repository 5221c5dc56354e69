"""Atrous convolution in place of strides, where a feature map must not get smaller.

Source: tensorflow/models, research/deeplab/core/xception.py and slim's resnet_utils.py.
"""

from collections.abc import Iterable


def plan(
    strides: Iterable[int], reached: int, output_stride: int
) -> list[tuple[int, int]]:
    """Return the stride and the rate of every unit of a network.

    Args:
      strides: of the units, one after another, as published for classification.
      reached: stride of the map that the first unit takes.
      output_stride: from here on units keep the size, and those behind a dropped
        stride are dilated by it.

    Raises:
      ValueError: `output_stride` is not among the strides that the network passes.
    """
    rate, found = 1, []
    for stride in strides:
        if reached == output_stride:
            found.append((1, rate))
            rate *= stride
        else:
            found.append((stride, 1))
            reached *= stride
    if reached != output_stride:
        raise ValueError(
            f"output stride {output_stride}; expected one that the network passes, "
            "such as 8 or 16"
        )
    return found
