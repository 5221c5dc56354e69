import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import deeplab_v2, parameters

TINY = {"num_classes": 3, "width": 1 / 32, "hidden": 4, "dropout": 0.0}


def _shapes(network, height, width):
    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.uint8)
    logits, variables = jax.eval_shape(
        lambda x: network.init_with_output(jax.random.key(0), x), images
    )
    return logits.shape, variables


@pytest.mark.parametrize(
    "variant, count", [("aspp", 37_877_652), ("large_fov", 20_505_429)]
)
def test_variants_have_the_size_of_their_definitions(variant, count):
    _, variables = _shapes(deeplab_v2.DeepLabV2(21, variant), 9, 9)
    assert parameters.count_parameters(variables) == count
    assert "batch_stats" not in variables


@pytest.mark.parametrize("variant", deeplab_v2.VARIANTS)
@pytest.mark.parametrize(
    "size, grid",
    [((513, 321), (65, 41)), ((512, 500), (65, 64)), ((9, 1), (2, 1))],
)
def test_logits_lie_at_stride_eight(variant, size, grid):
    shape, _ = _shapes(deeplab_v2.DeepLabV2(variant=variant, **TINY), *size)
    assert shape == (1, *grid, 3)


def test_branches_are_added(fill):
    network = deeplab_v2.DeepLabV2(**TINY)
    images = np.random.default_rng(0).integers(0, 256, (1, 33, 17, 3), np.uint8)
    variables = fill(network, images)
    params = variables["params"]

    def without(*branches):
        heads = {
            f"fc8_voc12_{k}": jax.tree.map(jnp.zeros_like, params[f"fc8_voc12_{k}"])
            for k in branches
        }
        return apply({"params": params | heads})

    apply = jax.jit(lambda variables: network.apply(variables, images))
    parts = [without(*(k for k in range(1, 5) if k != kept)) for kept in range(1, 5)]
    assert all(np.std(part) > 1e-3 for part in parts)
    np.testing.assert_allclose(sum(parts), apply(variables), rtol=1e-4, atol=1e-4)


def test_head_lists_the_layers_that_depend_on_the_classes():
    for variant in deeplab_v2.VARIANTS:
        trees = [
            _shapes(deeplab_v2.DeepLabV2(n, variant), 9, 9)[1]["params"] for n in (3, 4)
        ]
        differ = {name for name in trees[0] if trees[0][name] != trees[1][name]}
        assert differ == set(trees[0]) & set(deeplab_v2.DeepLabV2.HEAD)


def test_unknown_variant_is_named():
    with pytest.raises(ValueError, match="'v3'; expected one of: aspp"):
        _shapes(deeplab_v2.DeepLabV2(variant="v3"), 9, 9)


@pytest.mark.parametrize(
    "variant, rates", [("aspp", (6, 12, 18, 24)), ("large_fov", (12,))]
)
def test_fields_of_view_are_those_of_the_source(variant, rates):
    network = deeplab_v2.DeepLabV2(variant=variant, **TINY)
    _, variables = _shapes(network, 33, 33)
    images = jax.ShapeDtypeStruct((1, 33, 33, 3), jnp.uint8)
    program = str(jax.make_jaxpr(network.apply)(variables, images))
    found = re.findall(r"rhs_dilation=\((\d+), \1\)", program)
    # Ten convolutions before conv5, three in it, and one of 3x3 in every branch.
    assert found == ["1"] * 10 + ["2"] * 3 + [str(rate) for rate in rates]
