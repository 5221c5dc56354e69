"""Claims about the training loop, on a linear fit that takes no time."""

import os
import signal
import threading
import types
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.errors import UserError
from jaxseg.learning import loop, train_state
from jaxseg.runtime import checkpoint, metrics, parallel, prefetch

OPTIMIZER = optax.chain(optax.clip(1.0), optax.rmsprop(1e-2, momentum=0.9))
SETTINGS = {"steps": 12, "save_every": 4, "log_every": 2, "eval_every": 3}
NOISE = jax.random.key(5)


def _batch(step):
    x = np.random.default_rng((0, step)).normal(size=(8, 3)).astype(np.float32)
    return {"x": x, "y": x @ np.asarray([1.0, -2.0, 0.5], np.float32)}


def _loss(params, batch, rng):
    noise = 0.1 * jax.random.normal(rng, batch["y"].shape)
    return jnp.mean((batch["x"] @ params["w"] + params["b"] - batch["y"] + noise) ** 2)


@jax.jit
def _update(state, batch, step):
    rng = jax.random.fold_in(NOISE, step)
    loss, gradients = jax.value_and_grad(_loss)(state.params, batch, rng)
    state = train_state.apply_gradients(state, gradients, OPTIMIZER)
    return state, {"loss": loss, "norm": optax.tree.norm(gradients)}


def _evaluate(state):
    return {"fit": -jnp.abs(state.params["b"] - 0.05), "size": state.params["w"].sum()}


def _trainer(**changes):
    def init():
        params = {"w": jax.random.normal(jax.random.key(1), (3,)), "b": jnp.ones(())}
        return train_state.create(params, OPTIMIZER)

    trainer = loop.Trainer(init, _batch, _update, _evaluate, "fit")
    return trainer._replace(**changes)


def _assert_same(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two)):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def _saved(folder):
    return sorted(int(p.name) for p in (folder / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, loop.run_loop(_trainer(), folder, **SETTINGS)


def test_equals_the_plain_loop_and_logs_what_it_saw(whole):
    folder, final = whole
    state, losses = _trainer().init_fn(), {}
    for step in range(1, 13):
        state, values = _update(state, _batch(step), step)
        losses[step] = float(values["loss"])
    _assert_same(final, state)
    records = metrics.read(folder)
    assert {r["step"]: r["loss"] for r in records if "loss" in r} == {
        step: losses[step] for step in range(2, 13, 2)
    }
    assert [r["step"] for r in records if "eval/fit" in r] == [3, 6, 9, 12]


@pytest.mark.parametrize("killed_at", [3, 6, 8, 12])
def test_resumed_equals_uninterrupted_bit_for_bit(whole, tmp_path, killed_at):
    def batch(step):
        if step == killed_at:
            raise OSError("the disk went away")
        return _batch(step)

    with pytest.raises(OSError, match="the disk went away"):
        loop.run_loop(_trainer(batch_fn=batch), tmp_path, **SETTINGS)
    state = loop.run_loop(_trainer(), tmp_path, **SETTINGS)
    folder, want = whole
    _assert_same(state, want)
    one, two = (f / "metrics.jsonl" for f in (folder, tmp_path))
    assert one.read_bytes() == two.read_bytes()
    assert _saved(folder) == _saved(tmp_path)


def test_a_finished_run_trains_no_more(whole):
    def never(*_):
        raise AssertionError("trained again")

    folder, want = whole
    before = (folder / "metrics.jsonl").read_bytes()
    trainer = _trainer(batch_fn=never, update_fn=never, eval_fn=never)
    _assert_same(loop.run_loop(trainer, folder, **SETTINGS), want)
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_the_best_checkpoint_stays_beside_the_last_two(tmp_path):
    fits = iter([0.1, 0.9, 0.3, 0.2, 0.4, 0.5])
    trainer = _trainer(eval_fn=lambda _: {"fit": next(fits)})
    settings = {**SETTINGS, "eval_every": 2, "save_every": 100}
    loop.run_loop(trainer, tmp_path, **settings)
    assert _saved(tmp_path) == [4, 10, 12]
    with checkpoint.Checkpoints(tmp_path / "checkpoints", best_metric="fit") as saved:
        assert saved.best_step() == 4


def test_a_loss_that_is_not_finite_is_named_by_its_step(tmp_path):
    def batch(step):
        batch = _batch(step)
        return {**batch, "y": batch["y"] * np.nan} if step == 7 else batch

    settings = {**SETTINGS, "log_every": 5, "eval_every": 0}
    with pytest.raises(loop.TrainingError) as error:
        loop.run_loop(_trainer(batch_fn=batch), tmp_path, **settings)
    message = str(error.value)
    assert f"the loss is nan at step 7 of {tmp_path}" in message
    assert "the checkpoint of step 4 is kept" in message
    assert isinstance(error.value, UserError) and "\n" not in message
    assert _saved(tmp_path) == [4]
    assert [r["step"] for r in metrics.read(tmp_path)] == [5]


def test_one_of_several_losses_that_is_not_finite_is_named(tmp_path):
    def update(state, batch, step):
        state, values = _update(state, batch, step)
        other = jnp.where(step == 7, jnp.inf, 1.0)
        several = {"one/loss": values["loss"], "two/loss": other}
        return state, {"loss": (values["loss"] + other) / 2, **several}

    with pytest.raises(loop.TrainingError, match="the loss of two is inf at step 7"):
        loop.run_loop(_trainer(update_fn=update), tmp_path, **SETTINGS)


def test_parameters_that_are_not_finite_are_never_saved(tmp_path):
    def update(state, batch, step):
        new, values = _update(state, batch, step)
        ruined = jax.tree.map(
            lambda p: p * jnp.where(step == 8, jnp.inf, 1), new.params
        )
        return new._replace(params=ruined), values

    with pytest.raises(loop.TrainingError, match="parameters are not finite at step 8"):
        loop.run_loop(_trainer(update_fn=update), tmp_path, **SETTINGS)
    assert 8 not in _saved(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_the_step_it_came_in(whole, tmp_path, number, capsys):
    def update(state, batch, step):
        if step == 6:
            os.kill(os.getpid(), number)
        return _update(state, batch, step)

    before = signal.getsignal(number)
    settings = {**SETTINGS, "save_every": 100, "eval_every": 0}
    trainer = _trainer(update_fn=update, eval_fn=None, best_metric=None)
    with pytest.raises(KeyboardInterrupt):
        loop.run_loop(trainer, tmp_path, **settings)
    assert signal.getsignal(number) is before
    assert "stopping after this step" in capsys.readouterr().err
    assert _saved(tmp_path) == [6]
    state = loop.run_loop(
        _trainer(eval_fn=None, best_metric=None), tmp_path, **settings
    )
    _assert_same(state, whole[1])


def test_an_interrupt_in_the_last_step_is_not_swallowed(tmp_path):
    def update(state, batch, step):
        if step == SETTINGS["steps"]:
            os.kill(os.getpid(), signal.SIGINT)
        return _update(state, batch, step)

    trainer = _trainer(update_fn=update, eval_fn=None, best_metric=None)
    with pytest.raises(KeyboardInterrupt):
        loop.run_loop(trainer, tmp_path, **{**SETTINGS, "eval_every": 0})
    assert _saved(tmp_path)[-1] == SETTINGS["steps"]


def test_an_interrupt_of_a_ruined_state_saves_nothing(tmp_path):
    def batch(step):
        batch = _batch(step)
        if step == 7:
            raise KeyboardInterrupt
        return {**batch, "y": batch["y"] * np.nan} if step == 6 else batch

    settings = {**SETTINGS, "log_every": 100, "eval_every": 0}
    with pytest.raises(KeyboardInterrupt):
        loop.run_loop(_trainer(batch_fn=batch), tmp_path, **settings)
    assert _saved(tmp_path) == [4]


@pytest.mark.parametrize("where", ["update_fn", "eval_fn"])
def test_an_interrupt_within_a_step_saves_no_half_of_it(whole, tmp_path, where):
    calls = []

    def stop(fn, count):
        def wrapped(*args):
            calls.append(1)
            if len(calls) == count:
                raise KeyboardInterrupt
            return fn(*args)

        return wrapped

    stopped = {"update_fn": stop(_update, 6), "eval_fn": stop(_evaluate, 2)}[where]
    with pytest.raises(KeyboardInterrupt):
        loop.run_loop(_trainer(**{where: stopped}), tmp_path, **SETTINGS)
    assert _saved(tmp_path)[-1] == (5 if where == "update_fn" else 4)
    state = loop.run_loop(_trainer(), tmp_path, **SETTINGS)
    _assert_same(state, whole[1])
    one, two = (f / "metrics.jsonl" for f in (whole[0], tmp_path))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("how", ["pmap", "shard_map"])
def test_a_donating_update_on_four_devices_resumes_bit_for_bit(tmp_path, how):
    def per_device(state, batch, step):
        rng = jax.random.fold_in(NOISE, step)
        found = jax.value_and_grad(_loss)(state.params, batch, rng)
        loss, gradients = parallel.mean_over_devices(found)
        state = train_state.apply_gradients(state, gradients, OPTIMIZER)
        return state, {"loss": loss}

    def killed(step):
        if step == 9:
            raise OSError
        return _batch(step)

    update = parallel.data_parallel(
        per_device, (None, 0, None), num_devices=4, how=how, donate=(0,)
    )
    trainer = _trainer(update_fn=update)
    want = loop.run_loop(trainer, tmp_path / "one", **SETTINGS)
    with pytest.raises(OSError):
        broken = trainer._replace(batch_fn=killed)
        loop.run_loop(broken, tmp_path / "two", **SETTINGS)
    got = loop.run_loop(trainer, tmp_path / "two", **SETTINGS)
    _assert_same(got, want)
    one, two = (tmp_path / n / "metrics.jsonl" for n in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_fresh_and_a_restored_state_are_bound_to_devices_alike(tmp_path):
    bound = {}

    def update(state, batch, step):
        bound[step] = [(x.committed, x.sharding) for x in jax.tree.leaves(state)]
        return _update(state, batch, step)

    trainer = _trainer(update_fn=update)
    loop.run_loop(trainer, tmp_path, **{**SETTINGS, "steps": 1})
    loop.run_loop(trainer, tmp_path, **{**SETTINGS, "steps": 2})
    assert bound[1] == bound[2]
    assert all(committed for committed, _ in bound[1])


def test_batches_are_made_in_another_thread(tmp_path):
    names = set()

    def batch(step):
        names.add(threading.current_thread().name)
        return _batch(step)

    loop.run_loop(_trainer(batch_fn=batch), tmp_path, **{**SETTINGS, "steps": 3})
    assert names == {"prefetch"}


def test_batches_are_placed_before_the_update_asks(tmp_path, whole):
    """Batch 2 is on its way while update 1 is computed."""
    placed, names = {}, set()
    second = threading.Event()

    def place(batch):
        placed[len(placed) + 1] = jax.device_put(batch)
        names.add(threading.current_thread().name)
        if len(placed) == 2:
            second.set()
        return placed[len(placed)]

    def update(state, batch, step):
        assert batch is placed[step]
        assert step > 1 or second.wait(20)
        return _update(state, batch, step)

    trainer = _trainer(place_fn=place, update_fn=update)
    state = loop.run_loop(trainer, tmp_path, **SETTINGS)
    assert names == {"prefetch"}
    _assert_same(state, whole[1])


class Clock:
    """Stands for the module `time`; moves only when it is told to.

    A batch is made only when the loop waits for it, so that it waits for all of it.
    """

    def __init__(self):
        self.now, self.waiting = 0.0, threading.Semaphore(0)
        self.asked = 0

    def perf_counter(self):
        return self.now

    def asked_for_batches(self):
        """Be asked, before and after every wait, by the loop and its threads."""
        now = self.now
        if threading.current_thread() is threading.main_thread():
            self.asked += 1
            if self.asked % 2:
                self.waiting.release()
        return now


@pytest.mark.parametrize("batch_seconds, update_seconds", [(3, 1), (0, 1), (1, 0)])
def test_the_share_of_time_that_is_waited_for_batches(
    tmp_path, monkeypatch, batch_seconds, update_seconds
):
    clock = Clock()

    def batch(step):
        assert clock.waiting.acquire(timeout=60)
        clock.now += batch_seconds
        return _batch(step)

    def update(state, batch, step):
        clock.now += update_seconds
        return _update(state, batch, step)

    monkeypatch.setattr(loop, "time", clock)
    waits = types.SimpleNamespace(perf_counter=clock.asked_for_batches)
    monkeypatch.setattr(prefetch, "time", waits)
    settings = {**SETTINGS, "eval_every": 0, "save_every": 100}
    trainer = _trainer(batch_fn=batch, update_fn=update, eval_fn=None, best_metric=None)
    loop.run_loop(trainer, tmp_path, **settings)
    records = metrics.read(tmp_path / metrics.TIMES_FILE)
    assert [r["step"] for r in records] == [2, 4, 6, 8, 10, 12]
    for record in records:
        both = batch_seconds + update_seconds
        assert record["step_seconds"] == both
        assert record["wait_seconds"] == batch_seconds
        assert record["waits"] == batch_seconds / both


def test_no_batch_is_held_on_the_host_once_it_is_placed(tmp_path):
    held = {}

    def batch(step):
        found = _batch(step)
        held[step] = weakref.ref(found["x"])
        return found

    def update(state, batch, step):
        assert held[step]() is None
        return _update(state, batch, step)

    place = lambda batch: {name: value.copy() for name, value in batch.items()}
    trainer = _trainer(batch_fn=batch, place_fn=place, update_fn=update)
    loop.run_loop(trainer, tmp_path, **{**SETTINGS, "steps": 4})
    assert len(held) == 4


def test_a_trace_of_some_updates_is_written_where_asked(tmp_path):
    settings = {**SETTINGS, "steps": 5, "eval_every": 0}
    trainer = _trainer(eval_fn=None, best_metric=None)
    loop.run_loop(trainer, tmp_path / "without", **settings)
    assert not (tmp_path / "without" / loop.TRACE).exists()
    loop.run_loop(trainer, tmp_path / "with", **settings, trace=2)
    (trace,) = (tmp_path / "with" / loop.TRACE).rglob("*.xplane.pb")
    assert b"train" in trace.read_bytes()


def test_another_network_is_refused_and_the_checkpoint_stays(whole):
    def wider():
        params = {"w": jnp.ones((4,)), "b": jnp.ones(())}
        return train_state.create(params, OPTIMIZER)

    folder, _ = whole
    before = _saved(folder)
    with pytest.raises(UserError, match=r"params/w found float32\[3\] expected"):
        loop.run_loop(_trainer(init_fn=wider), folder, **{**SETTINGS, "steps": 20})
    assert _saved(folder) == before
