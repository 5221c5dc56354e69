"""Variables without an initialisation, whose many draws take long to compile."""

import jax
import numpy as np
import pytest


@pytest.fixture(scope="session")
def fill():
    """Return a function that draws He-like `variables` for a network and its inputs."""

    def draw(network, *inputs):
        shapes = jax.eval_shape(lambda *x: network.init(jax.random.key(0), *x), *inputs)
        rng = np.random.default_rng(0)

        def value(path, leaf):
            name = path[-1].key
            if name in ("scale", "var"):
                return np.ones(leaf.shape, np.float32)
            if name in ("bias", "mean"):
                return rng.normal(0, 0.1, leaf.shape).astype(np.float32)
            fan_in = np.prod(leaf.shape[:-1])
            return rng.normal(0, (2 / fan_in) ** 0.5, leaf.shape).astype(np.float32)

        return jax.tree_util.tree_map_with_path(value, shapes)

    return draw
