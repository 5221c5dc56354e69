"""The most FLOP a second that a device reaches: by its data sheet, or measured."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.benchmark import turns

_SIDES = {"cpu": 1024}  # of the matrices that are multiplied
_SIDE = 8192
_REPEATS = 5

_H200 = "NVIDIA H200 Tensor Core GPU data sheet, dense"
_H100 = "NVIDIA H100 Tensor Core GPU data sheet, SXM, dense"
_A100 = "NVIDIA A100 Tensor Core GPU data sheet, dense"
# FLOP a second of matrix products in bfloat16, and of float32 as JAX multiplies it by
# default, in TF32; by the name that a device gives itself.
_DATA_SHEETS = {
    "NVIDIA H200": (989.5e12, 494.7e12, _H200),
    "NVIDIA H100 80GB HBM3": (989.5e12, 494.7e12, _H100),
    "NVIDIA A100-SXM4-40GB": (312e12, 156e12, _A100),
    "NVIDIA A100-SXM4-80GB": (312e12, 156e12, _A100),
}


class Peak(NamedTuple):
    """What a device can do at most."""

    rate: float  # FLOP a second
    source: str

    def share(self, flop: float, seconds: float) -> float:
        """Return which part of the peak work done in some time makes."""
        return flop / (seconds * self.rate)


def of_device(dtype: Any = jnp.float32) -> Peak:
    """Return the peak of the device that JAX computes on, for products of a type.

    Of a device whose data sheet is not known here, and of every CPU, it is that of a
    matrix product, measured once in this process.
    """
    known = _DATA_SHEETS.get(jax.devices()[0].device_kind)
    if known is None:
        return measured(dtype)
    bf16, tf32, source = known
    return Peak(bf16 if dtype == jnp.bfloat16 else tf32, source)


@functools.cache
def measured(dtype: Any = jnp.float32) -> Peak:
    """Return the rate of a product of two square matrices, measured now."""
    side = _SIDES.get(jax.default_backend(), _SIDE)
    draw = lambda seed: jax.random.normal(jax.random.key(seed), (side, side), dtype)
    product = turns.Program(jnp.matmul)
    arguments = draw(0), draw(1)
    product(*arguments)
    seconds = turns.run({"": lambda: product(*arguments)}, _REPEATS)[""].wall
    name = jnp.dtype(dtype).name
    source = f"product of two {side} x {side} matrices in {name}, measured here"
    return Peak(2.0 * side**3 / seconds, source)
