"""Claims about data parallelism: any number of devices, the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.runtime import parallel


def _loss(params, x, rng):
    noise = jax.random.normal(rng, x.shape)
    hidden = jnp.tanh((x + 0.1 * noise) @ params["w"]) * params["scale"]
    return jnp.sum(hidden**2)


def _mean_grad(params, batch, rngs):
    losses = jax.vmap(_loss, in_axes=(None, 0, 0))
    value_and_grad = jax.value_and_grad(lambda p: losses(p, batch["x"], rngs).mean())
    return value_and_grad(params)


def _step(params, batch, rngs):
    return parallel.mean_over_devices(_mean_grad(params, batch, rngs))


def _arguments(count=8):
    params = {
        "w": jax.random.normal(jax.random.key(0), (5, 3)),
        "scale": jnp.float32(1.5),
    }
    x = np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)
    return params, {"x": x}, jax.random.split(jax.random.key(1), count)


@pytest.mark.parametrize("how", ["pmap", "shard_map"])
@pytest.mark.parametrize("num_devices", [1, 2, 4])
def test_equals_one_vmap(how, num_devices):
    want = jax.jit(_mean_grad)(*_arguments())
    step = parallel.data_parallel(_step, (None, 0, 0), num_devices=num_devices, how=how)
    got = step(*_arguments())
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.shape == b.shape and len(a.sharding.device_set) == num_devices
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["pmap", "shard_map"])
def test_each_device_sees_its_share_in_order(how):
    def gather(batch):
        assert batch.shape == (2, 3)
        return jax.lax.all_gather(batch, parallel.AXIS)

    batch = np.arange(24, dtype=np.float32).reshape(8, 3)
    seen = parallel.data_parallel(gather, (0,), num_devices=4, how=how)(batch)
    np.testing.assert_array_equal(np.asarray(seen).reshape(8, 3), batch)


@pytest.mark.parametrize("how", ["pmap", "shard_map"])
def test_the_result_goes_back_in_and_compiles_once(how):
    traces = []

    def add(total, batch):
        traces.append(1)
        return total + parallel.mean_over_devices(batch.mean())

    step = parallel.data_parallel(add, (None, 0), how=how, num_devices=4, donate=(0,))
    total = jax.device_put(jnp.float32(0), jax.devices()[0])  # as restored from disk
    for _ in range(4):
        total = step(total, np.ones((4, 2), np.float32))
    assert float(total) == 4
    assert len(traces) <= 2


def test_a_batch_that_does_not_divide_says_what_would():
    step = parallel.data_parallel(_step, (None, 0, 0), num_devices=4)
    with pytest.raises(UserError) as error:
        step(*_arguments(6))
    message = str(error.value)
    assert message.startswith(
        "found 6 examples for 4 devices; expected a multiple of 4"
    )
    assert "use 8 examples or 1 or 2 or 3 device(s)" in message


def test_too_many_devices_and_an_unknown_way_are_refused():
    with pytest.raises(UserError, match=r"found 4 cpu device.* at least 9"):
        parallel.data_parallel(_step, (None, 0, 0), num_devices=9)
    with pytest.raises(UserError, match="'pjit'"):
        parallel.data_parallel(_step, (None, 0, 0), how="pjit")


def test_what_was_placed_once_is_not_moved_again():
    placed = parallel.place({"w": np.ones(3)}, 2)
    assert len(placed["w"].sharding.device_set) == 2
    again = parallel.place(placed, 2)
    assert again["w"] is placed["w"]
