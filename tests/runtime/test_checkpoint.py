"""Claims about checkpoints: exact round trips, what stays, and what is refused."""

import subprocess
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.errors import UserError
from jaxseg.runtime import checkpoint


class _State(NamedTuple):
    step: Any
    params: Any
    opt_state: Any


def _state(seed=0, width=3):
    params = {
        "w": jax.random.normal(jax.random.key(seed), (4, width)),
        "b": jnp.ones(2),
    }
    optimizer = optax.chain(optax.clip(1.0), optax.rmsprop(1e-3, momentum=0.9))
    opt_state = optimizer.init(params)
    _, opt_state = optimizer.update(params, opt_state, params)
    return _State(jnp.asarray(seed, jnp.int32), params, opt_state)


def _assert_same(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two)):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_restores_optimizer_tuples_exactly_in_a_new_manager(tmp_path):
    with checkpoint.Checkpoints(tmp_path / "c") as saved:
        saved.save(7, _state(1))
    with checkpoint.Checkpoints(tmp_path / "c") as loaded:
        step, state = loaded.restore_latest(_state(0))
    assert step == 7
    _assert_same(state, _state(1))


def test_an_empty_folder_has_nothing_to_restore(tmp_path):
    with checkpoint.Checkpoints(tmp_path / "c") as empty:
        assert empty.restore_latest(_state()) is None
        assert empty.restore_best(_state()) is None
        assert empty.latest_step() is None


def test_a_state_saved_on_four_devices_restores_on_one_and_back(tmp_path):
    mesh = Mesh(np.array(jax.devices()[:4]), ("d",))
    everywhere = jax.device_put(_state(1), NamedSharding(mesh, P()))
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, everywhere)
        _, on_one = checkpoints.restore_latest(_state(0))
        _, on_four = checkpoints.restore_latest(everywhere)
    _assert_same(on_one, _state(1))
    assert {len(x.sharding.device_set) for x in jax.tree.leaves(on_one)} == {1}
    assert {len(x.sharding.device_set) for x in jax.tree.leaves(on_four)} == {4}


def test_restores_from_shapes_alone(tmp_path):
    shapes = jax.eval_shape(_state)
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, _state(0))
        _, state = checkpoints.restore_latest(shapes)
    _assert_same(state, _state(0))


def test_keeps_the_last_two_and_the_best(tmp_path):
    scores = {1: 0.1, 2: 0.9, 3: 0.2, 4: float("nan"), 5: 0.3, 6: 0.4}
    with checkpoint.Checkpoints(tmp_path / "c", 2, best_metric="miou") as checkpoints:
        for step, score in scores.items():
            checkpoints.save(step, _state(step), {"miou": score, "other": 1.0})
        checkpoints.save(7, _state(7))
        checkpoints.wait()
        kept = sorted(int(p.name) for p in (tmp_path / "c").iterdir())
        assert kept == [2, 6, 7]
        assert checkpoints.latest_step() == 7
    with checkpoint.Checkpoints(tmp_path / "c", 2, best_metric="miou") as checkpoints:
        step, state = checkpoints.restore_best(_state())
    assert step == 2
    _assert_same(state, _state(2))


def test_another_tree_or_shape_is_refused_with_both_sides(tmp_path):
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(3, _state(width=3))
        with pytest.raises(UserError) as error:
            checkpoints.restore_latest(_state(width=5))
        assert "params/w found float32[4, 3] expected float32[4, 5]" in str(error.value)
        assert str(tmp_path / "c" / "3") in str(error.value)
        other = _state()._replace(params={"w": jnp.ones((4, 3)), "c": jnp.ones(2)})
        with pytest.raises(UserError) as error:
            checkpoints.restore_latest(other)
        assert "params/b found float32[2] expected nothing" in str(error.value)
        assert "params/c found nothing expected float32[2]" in str(error.value)


@pytest.mark.parametrize("damage", ["truncate", "delete"])
def test_a_broken_newest_checkpoint_is_named_and_not_passed_over(tmp_path, damage):
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, _state(1))
        checkpoints.save(2, _state(2))
    data = [p for p in (tmp_path / "c" / "2" / "state").rglob("*") if p.is_file()]
    for file in data:
        if damage == "delete":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        with pytest.raises(UserError) as error:
            checkpoints.restore_latest(_state())
    message = str(error.value)
    assert str(tmp_path / "c" / "2") in message and "\n" not in message
    assert "delete that folder and the run goes on from step 1" in message


def test_what_an_interrupted_save_left_behind_is_removed(tmp_path):
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, _state(1))
    for step in (2, 5):
        left = tmp_path / "c" / f"{step}.orbax-checkpoint-tmp"
        left.mkdir()
        (left / "half").write_text("x")
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.latest_step() == 1
        checkpoints.save(2, _state(2))
        assert checkpoints.latest_step() == 2
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["1", "2"]


def test_a_checkpoint_that_the_disk_refuses_is_named_and_the_last_one_stays(tmp_path):
    program = """
import resource, signal, sys
import numpy as np
from jaxseg.errors import UserError
from jaxseg.runtime import checkpoint
saved = checkpoint.Checkpoints(sys.argv[1])
saved.save(1, {"w": np.zeros(4)})
saved.wait()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    saved.save(2, {"w": np.random.default_rng(0).normal(size=100_000)})
    saved.wait()
except UserError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "c")],
        capture_output=True,
        text=True,
    )
    said = f"a checkpoint in {tmp_path / 'c'} cannot be written"
    assert done.stdout.startswith(said), done.stderr
    assert done.stdout.count("\n") == 1
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.latest_step() == 1
