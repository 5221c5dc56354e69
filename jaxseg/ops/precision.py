"""The numbers that networks are computed in: float32, or bfloat16 with float32 sums.

In bfloat16 a layer takes and gives bfloat16, and rounds its weights where it uses them.
Parameters, sums, batch statistics, the last layer of every network and all that comes
behind it (softmax, flow, logits of actions, scores, losses) are float32 in both.

A GPU's tensor cores multiply bfloat16 exactly and add up in float32, and XLA asks its
libraries for that in products and convolutions; the result is rounded once. A CPU has
no use for bfloat16; it is there to see on any machine what it does to results.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxseg.errors import UserError
from jaxseg.ops import forms
from jaxseg.types import Array

CHOICES = ("auto", "float32", "bfloat16")


def resolve(name: str) -> str:
    """Return "float32" or "bfloat16"; "auto" is bfloat16 on a GPU, float32 elsewhere.

    Raises:
      UserError: another name.
    """
    if name not in CHOICES:
        raise UserError(
            f"the precision is {name!r}; expected {' or '.join(CHOICES)}; change "
            "--config.runtime.precision"
        )
    if name == "auto":
        return "bfloat16" if jax.default_backend() == "gpu" else "float32"
    return name


def dtype(name: str) -> jnp.dtype:
    """Return the type of activations at a precision; see `resolve`."""
    return jnp.dtype(resolve(name))


def product(fn: Callable[[Array, Array], Array], x: Array, kernel: Array) -> Array:
    """Return `fn(x, kernel)` in the type of `x`, with sums in float32.

    Args:
      fn: sums of products of both, such as a convolution.
      x: float32, or bfloat16, to which the kernel is rounded then.
      kernel: float32.
    """
    kernel = kernel.astype(x.dtype)
    if x.dtype == jnp.float32 or not forms.for_cpu():
        return fn(x, kernel)
    # The forms for a CPU add up several products, each of which would be rounded.
    return wide_product(fn, x, kernel).astype(x.dtype)


def wide_product(fn: Callable[[Array, Array], Array], x: Array, kernel: Array) -> Array:
    """Return `fn(x, kernel)` in float32, of both in the type of `x`; see `product`."""
    kernel = kernel.astype(x.dtype)
    return fn(x.astype(jnp.float32), kernel.astype(jnp.float32))


def add_bias(x: Array, bias: Array) -> Array:
    """Return `x` + `bias` (float32), added in float32, in the type of `x`."""
    return (x + bias).astype(x.dtype)
