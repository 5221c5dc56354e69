"""Training by two processes of one device each, against one process of two devices."""

import os
import signal
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import safetensors.numpy

from jaxseg import model_file
from jaxseg.learning import loop, stages, train_state, units
from jaxseg.runtime import config, distributed, metrics, parallel

STEPS, LIMIT = 40, 240


@pytest.fixture
def start():
    """Return a function that starts both processes; they end with the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = os.environ["XLA_FLAGS"].split()
    count = "--xla_force_host_platform_device_count"
    flags = [f for f in flags if not f.startswith(count)] + [f"{count}=1"]
    begun = []

    def run(arguments_of):
        for process in range(2):
            command = [sys.executable, *arguments_of(address, process)]
            begun.append(
                subprocess.Popen(
                    command,
                    env=os.environ
                    | {
                        "XLA_FLAGS": " ".join(flags),
                        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    },
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        return begun

    yield run
    for process in begun:
        process.kill()
        process.communicate()


def program(folder, arguments, of_process=lambda process: []):
    """Return the command line of `jaxseg train` as a function of the process."""
    return lambda address, process: [
        *("-m", "jaxseg.cli.main", "train", f"--run={folder}", *arguments),
        f"--config.runtime.coordinator={address}",
        "--config.runtime.processes=2",
        f"--config.runtime.process={process}",
        *of_process(process),
    ]


def policy_arguments(demo):
    return [
        "--config=configs/policy.py:smoke",
        f"--config.data.prepared={demo}/data",
        f"--config.flow_run={demo}/flow",
        f"--config.train.steps={STEPS}",
        "--config.train.save_every=10",
        "--config.log.every=1",
    ]


def in_one_process(arguments, folder):
    path = arguments[0].removeprefix("--config=")
    overrides = [*arguments[1:], "--config.runtime.devices=2"]
    return stages.train(config.to_dict(config.load_config(path, overrides)), folder)


def assert_same_model(one, two):
    one, two = (
        safetensors.numpy.load_file(folder / model_file.NAME) for folder in (one, two)
    )
    assert one.keys() == two.keys()
    for name in one:
        # A sum of two is the same in any order.
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_a_run_goes_from_one_process_to_two_and_back(
    demo, tmp_path, start, monkeypatch
):
    """One process is killed, two go on and one of them is stopped, one finishes."""
    arguments = policy_arguments(demo)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    in_one_process(arguments, whole)
    real, calls = units.make_units, []

    def fail_at_the_12th(*arguments):
        calls.append(1)
        if len(calls) == 12:
            raise RuntimeError("the machine was taken away")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(units, "make_units", fail_at_the_12th)
        with pytest.raises(RuntimeError, match="taken away"):
            in_one_process(arguments, parts)

    both = start(program(parts, arguments))
    wait_for_line(both, parts / metrics.FILE, at_step=13)
    both[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=LIMIT)[1] for process in both]
    assert [process.returncode for process in both] == [130, 130], said
    assert "2 processes, 2 devices" in said[0] and "stopping" in said[1]
    assert "pair tables" not in said[1]
    saved = sorted(int(p.name) for p in (parts / "checkpoints").iterdir())
    assert 13 <= saved[-1] < STEPS
    assert metrics.read(parts)[-1]["step"] == saved[-1]
    assert not (parts / "DONE").exists()

    in_one_process(arguments, parts)
    assert_same_model(whole, parts)
    assert (whole / metrics.FILE).read_bytes() == (parts / metrics.FILE).read_bytes()


def wait_for_line(processes, path, at_step):
    """Wait until the metrics file has the record of a step."""
    end = time.monotonic() + LIMIT
    while not path.exists() or metrics.read(path)[-1]["step"] < at_step:
        assert time.monotonic() < end
        for process in processes:
            assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def fit(folder, how):
    """Run the training loop on a fit that costs nothing: validation, best and last."""
    optimizer = optax.adam(1e-1)

    def gradient(params, batch, rng):
        def loss_fn(params):
            noise = 0.1 * jax.random.normal(rng, batch["y"].shape)
            return jnp.mean((batch["x"] @ params["w"] - batch["y"] + noise) ** 2)

        return parallel.mean_over_devices(jax.value_and_grad(loss_fn)(params))

    spread = parallel.data_parallel(gradient, (None, 0, None), num_devices=2, how=how)
    apply = jax.jit(
        lambda state, grads: train_state.apply_gradients(state, grads, optimizer),
        donate_argnums=0,
    )

    def init_fn():
        params = {"w": jax.random.normal(jax.random.key(0), (3,))}
        return parallel.place(train_state.create(params, optimizer), 2)

    def batch_fn(step):
        x = np.random.default_rng(step).normal(size=(6, 3)).astype(np.float32)
        return {"x": x, "y": x.sum(1)}

    def update_fn(state, batch, step):
        rng = jax.random.fold_in(jax.random.key(1), step)
        loss, grads = spread(state.params, batch, rng)
        return apply(state, grads), {"loss": loss}

    def eval_fn(state):
        # Farther from step to step, so that the best is not the last.
        return {"fit": -jnp.abs(state.params["w"] - 1).sum() - state.step}

    trainer = loop.Trainer(init_fn, batch_fn, update_fn, eval_fn, "fit", spread.split)
    return loop.run_loop(
        trainer, folder, steps=8, save_every=2, log_every=1, eval_every=4, keep=1
    )


def fit_together(address, process, folder):
    """Do it as one of two processes, and keep what this one ended with."""
    with distributed.session(distributed.Settings(address, 2, process), print):
        for how in ("pmap", "shard_map"):
            state = fit(f"{folder}/{how}", how)
            np.save(f"{folder}/{how}-{process}.npy", state.params["w"])


def test_two_processes_validate_and_keep_the_best_as_one_does(tmp_path, start):
    code = "from tests.system import test_processes as here; here.fit_together"
    both = start(
        lambda address, process: [
            *("-c", f"{code}({address!r}, {process}, {str(tmp_path)!r})")
        ]
    )
    said = [process.communicate(timeout=LIMIT)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    for how in ("pmap", "shard_map"):
        alone = fit(tmp_path / "alone" / how, how)
        for process in range(2):
            found = np.load(tmp_path / f"{how}-{process}.npy")
            np.testing.assert_array_equal(found, alone.params["w"])
        one, two = tmp_path / "alone" / how, tmp_path / how
        assert (one / metrics.FILE).read_bytes() == (two / metrics.FILE).read_bytes()
        for folder in (one, two):
            assert {p.name for p in folder.iterdir()} == {
                *("checkpoints", metrics.FILE, metrics.TIMES_FILE)
            }
            assert {p.name for p in (folder / "checkpoints").iterdir()} == {"4", "8"}


def test_processes_that_would_compute_differently_say_so(demo, tmp_path, start):
    other = lambda process: ["--config.runtime.how=shard_map"] if process else []
    both = start(program(tmp_path / "run", policy_arguments(demo), other))
    said = [process.communicate(timeout=LIMIT)[1] for process in both]
    assert [process.returncode for process in both] == [2, 2], said
    for process, (how, text) in enumerate(zip(("pmap", "shard_map"), said)):
        assert f"differ in runtime.how ('{how}' in process {process})" in text
    assert not (tmp_path / "run").exists()


def test_a_process_that_fails_takes_the_others_with_it(demo, tmp_path, start):
    other = lambda process: ["--config.policy.eta=0"] if process == 0 else []
    both = start(program(tmp_path / "run", policy_arguments(demo), other))
    first, second = (process.communicate(timeout=LIMIT)[1] for process in both)
    assert both[0].returncode == 2
    assert "jaxseg: error: policy.eta is 0" in first
    assert both[1].returncode not in (0, None)
    assert "another task died" in second or "coordination service" in second
    assert not (tmp_path / "run").exists()
