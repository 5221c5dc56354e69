"""Every framework computes what jax does, by every operation and architecture."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxseg.benchmark import inference
from jaxseg.benchmark.peers import peer
from jaxseg.models import decision, layers, policy
from jaxseg.ops import convolution, resize
from tests.benchmark.peers import small

PACKAGES = {
    "torch": ("torch",),
    "torch_cl": ("torch",),
    "onnx": ("onnx", "onnxruntime"),
}


@pytest.fixture(params=PACKAGES)
def make(request):
    """Return the program of a framework that is installed."""
    for package in PACKAGES[request.param]:
        pytest.importorskip(package)
    return inference.PEERS[request.param]


def assert_agrees(make, net, *inputs):
    variables = small.variables_of(net, *inputs)
    expected = jax.tree.leaves(jax.jit(net.apply)(variables, *inputs))
    found = make(small.folded(net.apply, variables, *inputs), inputs)
    for _ in range(2):  # A second run must find its weights and input unharmed.
        for a, b in zip(found.arrays(), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(b).max())
            assert np.ptp(b) > 0


@pytest.mark.parametrize("name", small.SEGMENTERS)
def test_segmenters_agree(make, name):
    assert_agrees(make, *small.segmenter(name))


@pytest.mark.parametrize("name", small.FLOWS)
def test_flow_networks_agree(make, name):
    current, key = small.frames(70, 65), small.frames(70, 65)[:, ::-1]
    assert_agrees(make, small.FLOWS[name], current, np.ascontiguousarray(key))


def test_decisions_and_policies_agree(make):
    rng = np.random.default_rng(0)
    deviation = rng.normal(size=(2, 3, 5, 7)).astype(np.float32)
    assert_agrees(make, decision.DecisionNet(6, (8, 9)), deviation)
    ratio, distance = rng.uniform(size=(2, 2)).astype(np.float32)
    assert_agrees(make, policy.PolicyNet(6, (8, 9)), deviation, ratio, distance)


def assert_operation_agrees(make, fn, *inputs):
    folded = small.folded(lambda _, *x: fn(*x), {}, *inputs)
    found = make(folded, inputs).arrays()
    expected = jax.tree.leaves(fn(*map(jnp.asarray, inputs)))
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


IMAGE = np.random.default_rng(0).normal(size=(2, 6, 7, 4)).astype(np.float32)
TURNED = np.eye(4, dtype=np.float32)[::-1]


@pytest.mark.parametrize(
    "fn",
    [
        jnp.abs,
        jnp.ceil,
        jnp.exp,
        jnp.expm1,
        jnp.floor,
        jnp.negative,
        jnp.sign,
        jnp.square,
        jnp.tanh,
        lax.erf,
        layers.leaky_relu,
        jax.nn.relu6,
        jax.nn.sigmoid,
        lambda x: jnp.log(jnp.abs(x) + 1),
        lambda x: jnp.log1p(jnp.abs(x)),
        lambda x: lax.rsqrt(jnp.abs(x) + 1) + jnp.sqrt(jnp.abs(x)),
        lambda x: (x + 3) ** 3 + (jnp.abs(x) + 1) ** x,
        lambda x: jnp.maximum(x, 0.1) - jnp.minimum(x, x[::-1]),
        lambda x: ((x > 0) & (x < 1)) | ~(x >= -1),
        lambda x: [x == x[::-1], x != x[::-1], x < x[::-1]],
        lambda x: jnp.where(x <= 0, jnp.exp(x), jnp.clip(x, -0.5, 0.5)),
        lambda x: lax.div((10 * x).astype(jnp.int32), 3),
    ],
)
def test_functions_of_single_numbers_agree(make, fn):
    assert_operation_agrees(make, fn, IMAGE)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: jax.nn.softmax(x, -1) * jax.nn.softmax(x, 1),
        lambda x: [x.argmax(-1), x.argmin(1), x.argmax(2).astype(jnp.float32) / 2],
        lambda x: [x.sum((1, 2)), x.sum(1), x.max((2, 3)), x.min(-1), x[0].sum(0)],
        lambda x: jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape) - x,
        lambda x: jnp.broadcast_to(x[:, 0, 0], (3, 5, 2, 4)) + x[1, 2, 3],
        lambda x: jnp.broadcast_to(x[..., :1, 2:3], (2, 6, 9, 5)),
        lambda x: [x.reshape(2, -1), x.reshape(2, 3, 2, 7, 4).sum(2), x.reshape(-1, 4)],
        lambda x: x.reshape(2, 6, 28)[:, :, None, ::2] + jnp.ones((1, 1, 5, 1)),
        lambda x: [x.transpose(0, 2, 1, 3), x.transpose(3, 0, 1, 2), x[0].T],
        lambda x: jnp.concatenate([x, 2 * x[:, :2]], 1)[..., ::-1][:, ::-1, 1:],
        lambda x: jnp.stack([x, -x], 3).reshape(2, 6, 14, 4),
        lambda x: lax.dynamic_slice(x, (0, 2, 9, 1), (2, 3, 4, 2)),
        lambda x: jnp.take(x, np.array([3, 0, 3]), axis=2) + x[:, :, 2:3],
        lambda x: jnp.pad(x[:, 1:5:2], ((0, 0), (1, 0), (0, 2), (0, 0)))[:, :, 1:],
        lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 0), (3, 0)), constant_values=2.0),
    ],
)
def test_functions_along_axes_agree(make, fn):
    assert_operation_agrees(make, fn, IMAGE)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: jnp.einsum("bhwc,bhwd->bcd", x, x[:, ::-1]),
        lambda x: jnp.einsum("bhwc,bhvc->bhwv", x, x),
        lambda x: (lambda y: jax.nn.relu(y) + y)(x @ TURNED),
        lambda x: jnp.float32(1) - (x @ TURNED) / 3,
        lambda x: 1 / (9 + x @ TURNED),
        lambda x: [x[0] @ TURNED + 1, x[0, 0] @ TURNED[:3].T],
        lambda x: jnp.moveaxis(jnp.tensordot(x, jnp.ones((3, 6)), (1, 1)), -1, 1),
        lambda x: jnp.moveaxis(jnp.tensordot(x, jnp.ones((7, 3)), (2, 0)), -1, 2),
        lambda x: resize.resize_bilinear(x, (11, 9), "half_pixel"),
        lambda x: resize.resize_bilinear(resize.resize_bilinear(x, (5, 9)), (17, 9)),
        lambda x: resize.halve(x),
    ],
)
def test_products_and_resizing_agree(make, fn):
    assert_operation_agrees(make, fn, IMAGE)


@pytest.mark.parametrize(
    "pads", ["SAME", "VALID", ((0, 3), (2, 1)), ((-1, 2), (0, -2)), ((5, 5), (4, 0))]
)
@pytest.mark.parametrize("rate", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_agree(make, pads, rate, stride):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 9, 8, 4)).astype(np.float32)
    kernel = rng.normal(size=(3, 2, 2, 6)).astype(np.float32)

    def fn(x):
        return lax.conv_general_dilated(
            x,
            kernel,
            (stride, 1),
            pads,
            rhs_dilation=(1, rate),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=2,
        )

    assert_operation_agrees(make, fn, x)


@pytest.mark.parametrize("size", [(10, 12), (9, 11), (9, 12)])
@pytest.mark.parametrize("rate", [1, 2])
def test_upsampling_convolutions_agree(make, size, rate):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 5, 6, 3)).astype(np.float32)
    kernel = rng.normal(size=(4, 4, 2, 3)).astype(np.float32)

    def fn(x):
        if rate == 1:
            return convolution.deconv(x, kernel, size, "lax")
        pads = [(3, 2 + n % 2) for n in size]
        numbers = ("NHWC", "HWOI", "NHWC")
        return lax.conv_general_dilated(
            x, kernel, (1, 1), pads, (3, 2), (2, 1), numbers
        )

    assert_operation_agrees(make, fn, x)


@pytest.mark.parametrize("operator", [(lax.max, -np.inf), (lax.add, 0.0)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "pads", [((1, 1), (1, 1)), ((0, 1), (1, 2)), ((0, 0), (3, 0)), ((1, 0), (2, 2))]
)
def test_poolings_agree(make, operator, stride, pads):
    def fn(x):
        pooling, start = operator
        pairs = ((0, 0), *pads, (0, 0))
        sides, steps = (1, 3, 3, 1), (1, stride, stride, 1)
        return lax.reduce_window(x, start, pooling, sides, steps, pairs)

    assert_operation_agrees(make, fn, IMAGE)


def test_an_unknown_operation_is_named(make):
    folded = small.folded(lambda _, x: lax.cumsum(x), {}, np.ones(3, np.float32))
    with pytest.raises(NotImplementedError, match="no operation 'cumsum'"):
        make(folded, (np.ones(3, np.float32),))


def test_networks_run_on_as_many_threads_as_are_fastest(make, monkeypatch):
    def threads():
        if make.NAME.startswith("torch"):
            return pytest.importorskip("torch").get_num_threads()
        return program._session.get_session_options().intra_op_num_threads

    tried = []
    monkeypatch.setattr(peer, "fastest", lambda seconds: tried.append(seconds(1)) or 2)
    x = np.ones(3, np.float32)
    program = make(small.folded(lambda _, x: x + 1, {}, x), (x,))
    np.testing.assert_array_equal(program.arrays()[0], [2, 2, 2])
    assert threads() == 2 and tried[0] > 0


@pytest.mark.parametrize("name", PACKAGES)
def test_a_framework_that_is_not_there_is_missing(monkeypatch, name):
    monkeypatch.setitem(sys.modules, PACKAGES[name][-1], None)
    x = np.ones(3, np.float32)
    with pytest.raises(peer.Missing, match="not installed"):
        inference.PEERS[name](small.folded(lambda _, x: x + 1, {}, x), (x,))


def test_a_framework_without_the_device_of_jax_is_missing(make, monkeypatch):
    if make.NAME.startswith("torch"):
        cuda = pytest.importorskip("torch").cuda
        monkeypatch.setattr(cuda, "is_available", lambda: False)
    else:
        runtime = pytest.importorskip("onnxruntime")
        providers = ["CPUExecutionProvider"]
        monkeypatch.setattr(runtime, "get_available_providers", lambda: providers)
    x = np.ones(3, np.float32)
    folded = small.folded(lambda _, x: x + 1, {}, x)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(peer.Missing, match="does not see the device"):
        make(folded, (x,))


@pytest.mark.parametrize(("sign", "expected"), [(1, 1), (-1, 2)])
def test_one_thread_or_one_a_core_is_fastest(monkeypatch, sign, expected):
    monkeypatch.setattr(peer.host, "cores", lambda: 2)
    assert peer.fastest(lambda threads: sign * threads) == expected
