"""DVSNet's decision network: predict how well a propagated region will do.

B examples. Source: XUSean0118/DVSNet (model/decisionmodel.py, inference.py).
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.models import layers
from jaxseg.ops import resize
from jaxseg.types import Array

_INIT = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


class DecisionNet(nn.Module):
    """Map the deviation of a region to its expected confidence score in percent.

    The score is the share of pixels on which the propagated and the directly segmented
    region agree; a region becomes a key where it is below a target. The deviation is
    resized to `grid` first. Training needs the random stream "dropout", unless
    `dropout` is 0. `dtype` is that of all maps but the score.
    """

    conv_channels: int = 96
    hidden: tuple[int, ...] = (1024, 1024, 10)
    grid: tuple[int, int] = (4, 8)
    dropout: float = 0.5
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, deviation: Array, train: bool = False) -> Array:
        """Return scores [B] of deviations [B, h6, w6, c6]."""
        act = layers.leaky_relu
        x = resize.resize_bilinear(deviation, self.grid, "legacy").astype(self.dtype)
        x = act(layers.Conv(self.conv_channels, kernel_init=_INIT, name="Conv")(x))
        x = x.reshape(x.shape[0], -1)
        for index, features in enumerate(self.hidden):
            x = act(_dense(features, index, self.dtype)(x))
            x = layers.Dropout(self.dropout)(x, train)
        # The source activates its output too.
        return act(_dense(1, len(self.hidden), jnp.float32)(x))[:, 0]


def _dense(features: int, index: int, dtype: jnp.dtype) -> nn.Dense:
    bias_init = nn.initializers.constant(0.1)
    return nn.Dense(
        features,
        dtype=dtype,
        kernel_init=_INIT,
        bias_init=bias_init,
        name=f"FC{index}",
    )
