"""The policy network: keep the key frame, or take a new one.

B examples. The layers are the paper's; activation, kernel size and initialisation
follow XUSean0118/DVSNet (model/decisionmodel.py).
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from jaxseg.models import layers
from jaxseg.types import Array

_BIAS = 0.1  # of every fully connected layer at the start, as in DVSNet


class PolicyNet(nn.Module):
    """Score the two actions: 0 keeps the key frame (non-key), 1 takes a new one (key).

    `key_bias` is added to the key logit's bias at the start, so that training can
    begin with few keys. He-like weights alone move the two logits apart by about 1
    either way, as the seed has it; a small `action_scale`, a factor on the last
    layer's first weights, leaves the bias to decide.

    `dtype` is that of the trunk's maps; what the trunk returns, and all of the head,
    is float32.
    """

    conv_channels: int = 96
    hidden: tuple[int, ...] = (1024, 1024, 128)
    key_bias: float = 0.0
    action_scale: float = 1.0
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.conv = layers.ConvForLoops(self.conv_channels, name="Conv0")
        self.dense = [
            nn.Dense(
                features,
                dtype=self.dtype,
                kernel_init=layers.he_init,
                bias_init=nn.initializers.constant(_BIAS),
                name=f"FC{index}",
            )
            for index, features in enumerate(self.hidden)
        ]
        self.actions = nn.Dense(
            2,
            # On a GPU float32 products are rounded to fewer digits unless asked.
            precision=lax.Precision.HIGHEST,
            kernel_init=self._init_actions,
            bias_init=self._init_action_bias,
            name=f"FC{len(self.hidden)}",
        )

    def __call__(
        self, deviation: Array, key_ratio: Array, key_distance: Array
    ) -> Array:
        """Return logits [B, 2].

        `deviation` is [B, h6, w6, c6]; `key_ratio` (KAR) and `key_distance` (LKD)
        are [B].
        """
        return self.head(self.trunk(deviation), key_ratio, key_distance)

    def trunk(self, deviation: Array) -> Array:
        """Return what depends on the pair of frames alone, [B, hidden[-1]]."""
        x = layers.leaky_relu(self.conv(deviation.astype(self.dtype)))
        x = x.reshape(x.shape[0], -1)
        for dense in self.dense:
            x = layers.leaky_relu(dense(x))
        return x.astype(jnp.float32)

    def head(self, trunk: Array, key_ratio: Array, key_distance: Array) -> Array:
        """Join `trunk` [B, hidden[-1]] with the history: logits [B, 2]."""
        history = jnp.stack([key_ratio, key_distance], axis=-1).astype(trunk.dtype)
        return self.actions(jnp.concatenate([trunk, history], axis=-1))

    def _init_actions(self, rng, shape, dtype=jnp.float32) -> Array:
        return self.action_scale * layers.he_init(rng, shape, dtype)

    def _init_action_bias(self, rng, shape, dtype=jnp.float32) -> Array:
        return jnp.array([_BIAS, _BIAS + self.key_bias], dtype)
