"""The size of a network."""

import math

import jax

from jaxseg.types import Variables


def count_parameters(variables: Variables) -> int:
    """Count the trainable numbers of `variables` (its "params", if it names them).

    Works on arrays and on the shapes that `jax.eval_shape` returns.
    """
    params = variables.get("params", variables)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
