"""Keep the compiler from recomputing what is cheap once and dear sixteen times."""

import jax.numpy as jnp

from jaxseg.ops import forms
from jaxseg.types import Array


def materialise(x: Array) -> Array:
    """Return `x` [..., C] unchanged, and make XLA on a CPU store it.

    XLA:CPU fuses chains of gathers and recomputes the inner one for every tap of the
    outer: warping and then upsampling posteriors took 0.76 ms a pair instead of 0.08
    (25 x 25 x 5 to 97 x 97). It drops optimization barriers before it fuses, but does
    not fuse into a product, so this is a product with the identity, which is exact.
    """
    if not forms.for_cpu():
        return x
    return jnp.dot(x, jnp.eye(x.shape[-1], dtype=x.dtype))
