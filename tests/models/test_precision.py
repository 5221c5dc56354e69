"""Every kind of network in bfloat16, against itself in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import (
    decision,
    deeplab_fast,
    deeplab_v2,
    deeplab_v3plus,
    fcn,
    flownet,
    layers,
    policy,
)
from jaxseg.ops import forms
from tests.benchmark.peers import small

DEVIATION = np.random.default_rng(0).normal(size=(2, 5, 5, 16)).astype(np.float32)
HISTORY = (jnp.array([0.1, 0.2]), jnp.array([0.5, 0.1]))
FRAMES = small.frames(33, 40)

# Network, inputs, and how many of its products are float32: those of last layers, and
# what enlarges their results.
NETWORKS = {
    "mobilenet": (
        deeplab_v3plus.DeepLabV3Plus(width=0.25, aspp_channels=8),
        (FRAMES,),
        1,
    ),
    "V2": (deeplab_v2.DeepLabV2(width=0.1, hidden=8), (FRAMES,), 4),
    "LargeFOV": (deeplab_v2.DeepLabV2(3, "large_fov", 0.1, 8), (FRAMES,), 1),
    "FCN": (fcn.FCN(variant="8s-atonce", width=0.1, hidden=8), (FRAMES,), 3 + 6),
    "fast": (deeplab_fast.DeepLabFast(3, 0.1, (1, 1, 2, 1)), (FRAMES,), 1),
    # Five flows, of which four are enlarged, and the scale.
    "flow": (flownet.FlowNetS(4, 3), (FRAMES, FRAMES[:, ::-1]), 10),
    "policy": (policy.PolicyNet(6, (8, 9)), (DEVIATION, *HISTORY), 1),
    "decision": (decision.DecisionNet(6, (8, 9)), (DEVIATION,), 1),
}


@functools.cache
def made(name):
    """Return both networks, variables, inputs and results."""
    network, inputs, _ = NETWORKS[name]
    narrow = network.clone(dtype=jnp.bfloat16)
    variables = small.variables_of(network, *inputs)
    results = [jax.jit(net.apply)(variables, *inputs) for net in (network, narrow)]
    return (network, narrow), variables, inputs, results


@pytest.mark.parametrize("name", NETWORKS)
def test_results_are_float32_but_for_the_deviation_and_close(name):
    _, _, _, (expected, found) = made(name)
    if isinstance(found, flownet.FlowOutput):
        assert found.deviation.dtype == jnp.bfloat16
        found = found._replace(deviation=found.deviation.astype(jnp.float32))
    for ours, theirs in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert ours.dtype == theirs.dtype == jnp.float32
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert 0 < error < 0.03


@pytest.mark.parametrize("name", NETWORKS)
def test_all_products_but_the_last_are_of_bfloat16(name):
    _, narrow = made(name)[0]
    _, variables, inputs, _ = made(name)
    with forms.plain():
        jaxpr = jax.make_jaxpr(lambda *x: narrow.apply(*x))(variables, *inputs).jaxpr
    types = [
        {str(x.aval.dtype) for x in equation.invars}
        for equation in _equations(jaxpr)
        if equation.primitive.name in ("conv_general_dilated", "dot_general")
    ]
    assert all(len(found) == 1 for found in types)
    assert types.count({"float32"}) == NETWORKS[name][2]
    assert types.count({"bfloat16"}) == len(types) - NETWORKS[name][2] > 1


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)


@pytest.mark.parametrize("name", ["policy", "decision"])
def test_parameters_and_gradients_are_float32(name):
    nets, variables, inputs, _ = made(name)
    shapes = [jax.eval_shape(net.init, jax.random.key(0), *inputs) for net in nets]
    assert shapes[0] == shapes[1]

    def loss(params, net):
        leaves = jax.tree.leaves(net.apply({**variables, "params": params}, *inputs))
        return sum((x.astype(jnp.float32) ** 2).sum() for x in leaves)

    grads = [
        jax.jit(jax.grad(loss), static_argnums=1)(variables["params"], n) for n in nets
    ]
    expected, found = (
        np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in grads
    )
    assert {x.dtype for x in jax.tree.leaves(grads[1])} == {jnp.dtype(jnp.float32)}
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    assert 0.99 < cosine < 1 - 1e-9


def test_frames_embedded_one_by_one_compare_as_pairs_do():
    (_, net), variables, (current, key), (_, expected) = made("flow")
    embed = jax.jit(functools.partial(net.apply, method=net.embed))
    halves = embed(variables, current), embed(variables, key)
    assert halves[0].dtype == jnp.float32
    found = jax.jit(functools.partial(net.apply, method=net.compare))(
        variables, *halves
    )
    assert found.deviation.dtype == jnp.bfloat16
    for ours, theirs in zip(found, expected, strict=True):
        ours, theirs = ours.astype(jnp.float32), theirs.astype(jnp.float32)
        assert np.linalg.norm(ours - theirs) < 0.01 * np.linalg.norm(theirs)


def test_batch_statistics_are_summed_in_float32():
    """A thousand values near 300, of which bfloat16 has every second."""
    x = jnp.full((4, 16, 16, 1), 300.0, jnp.bfloat16).at[:2].set(302.0)
    layer = layers.ConvNorm(1, momentum=0.0)
    params = {
        "kernel": jnp.ones((1, 1, 1, 1)),
        "BatchNorm": {"scale": jnp.ones(1), "bias": jnp.zeros(1)},
    }
    y, updated = layer.apply(
        {
            "params": params,
            "batch_stats": {"BatchNorm": {"mean": jnp.zeros(1), "var": jnp.ones(1)}},
        },
        x,
        train=True,
        mutable=["batch_stats"],
    )
    found = updated["batch_stats"]["BatchNorm"]
    assert y.dtype == jnp.bfloat16 and found["mean"].dtype == jnp.float32
    np.testing.assert_allclose(found["mean"], 301.0)
    np.testing.assert_allclose(found["var"], 1.0, atol=1e-2)
