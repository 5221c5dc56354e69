"""Number formats in which features are stored and sent to a device.

"float32" is exact. "bfloat16" keeps 8 significant bits: an error of at most 1/256 of
the number. "uint8" counts in 255ths and is for probabilities alone: at most 1/510.
"""

import jax.numpy as jnp
import numpy as np

from jaxseg.types import Array

DTYPES = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(jnp.bfloat16),
    "uint8": np.dtype(np.uint8),
}


def encode(features: Array, name: str) -> Array:
    """Round float32 `features` to the format `name` of `DTYPES`."""
    if name == "uint8":
        return jnp.round(255 * features.clip(0, 1)).astype(jnp.uint8)
    return features.astype(DTYPES[name])


def decode(features: Array) -> Array:
    """Return float32 features of what `encode` gave; float32 comes back as it is."""
    if features.dtype == jnp.uint8:
        return features.astype(jnp.float32) / 255
    return features.astype(jnp.float32)
