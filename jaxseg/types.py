"""Names for the kinds of values that cross module borders."""

from collections.abc import Mapping
from typing import Any

import jax

Array = jax.Array
PRNGKey = jax.Array
Params = Any  # a pytree of arrays
Variables = Mapping[str, Any]  # {"params": ..., "batch_stats": ...}
Metrics = dict[str, Any]
