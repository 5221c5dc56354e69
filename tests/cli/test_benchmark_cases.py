"""The smaller benchmarks: streams, memory, the optimum, devices."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.benchmark import devices, memory, scene, stream, workload
from jaxseg.cli import benchmark_cases, main
from jaxseg.runtime import parallel

DEVICES = 2


@pytest.fixture(autouse=True)
def thin(monkeypatch):
    """Make F and the policy narrow; nothing else about them changes."""
    monkeypatch.setitem(scene.FLOW, "base_channels", 2)
    monkeypatch.setitem(workload.PAPER_POLICY, "conv_channels", 4)
    monkeypatch.setitem(workload.PAPER_POLICY, "hidden", (8, 8, 8))
    monkeypatch.setattr(devices, "_SHAPE", (2, 3, 4))


def run(capsys, out, *arguments):
    """Return the lines of JSON of a command, each of whose cases is printed."""
    arguments = ("benchmark", *map(str, arguments), "--json", str(out))
    assert main.main(list(arguments)) == 0
    said = capsys.readouterr().out
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert all(line["case"] in said for line in lines)
    return lines


def test_streams_take_a_key_in_every_interval(capsys, tmp_path, monkeypatch):
    advance, keys = stream._Stream.advance, []

    def counted(self, interval):
        keys.append(advance(self, interval))

    monkeypatch.setattr(stream._Stream, "advance", counted)
    network = ("--network", "deeplab-largefov-vgg16", "--size", 33, "--repeats", 2)
    lines = run(capsys, tmp_path / "stream.jsonl", "stream", *network)
    assert keys == [1] * (4 + 2 * 4)
    assert [line["case"] for line in lines] == [
        f"stream, {kind}, a = {a}" for kind in ("rule", "policy") for a in (10, 30)
    ]
    for line, interval in zip(lines, (10, 30, 10, 30), strict=True):
        facts = line["facts"]
        assert facts["fps"] == pytest.approx(1 / line["seconds"])
        every = 1 / facts["every_frame_fps"]
        assert line["ratio"] == pytest.approx(every / line["seconds"])
        # t_N / (t_F + t_N / a)
        warped = facts["warped_frame_ms"] / 1e3
        bound = every / (warped + every / interval)
        assert facts["bound"] == pytest.approx(bound)
        assert facts["of_bound"] == pytest.approx(line["ratio"] / bound)
        assert line["difference"] <= stream._TOLERANCE


def test_an_unknown_network_is_named(capsys):
    assert main.main(["benchmark", "stream", "--network", "vgg99"]) == 2
    assert "no segmenter 'vgg99'" in capsys.readouterr().err


def test_memory_of_rollouts_is_that_of_pairs_and_not_of_trials():
    given, kept = scene.make(33, 2, 1), 30
    few, many = (memory.measure(given, *x, kept) for x in ((4, 20), (32, 40)))
    # Beyond what is kept: some numbers a trial, a decision and a pair.
    assert many.temporary - few.temporary <= many.lists() - few.lists()
    for row in (few, many):
        assert row.kept < row.results <= row.kept + row.lists()
    # The plain rollout holds maps for every trial.
    assert many.plain - few.plain > 4 * (many.lists() - few.lists())
    # Frames and features are linear in T.
    assert many.episode == 2 * few.episode
    # Of deviations as many as are kept at most, and what a policy sees of each pair.
    deviation, seen = 4 * np.prod(given.deviation), 4 * 8
    pairs = {20: 1 + 2 + 3 + 16 * 4, 40: 31 * 32 // 2 + 8 * 32}
    assert few.kept == kept * deviation + pairs[20] * seen
    assert many.kept == kept * deviation + pairs[40] * seen


def test_the_optimum_is_timed(capsys, tmp_path):
    flags = ("--frames", 12, "--keys", 3, "--repeats", 1)
    lines = run(capsys, tmp_path / "optimum.jsonl", "optimum", *flags)
    assert [line["facts"]["keys"] for line in lines] == [3, 12]
    assert all(line["seconds"] > 0 and line["ratio"] is None for line in lines)


def test_devices_agree_and_average_at_the_end_alone(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_COUNTS", (1, DEVICES))
    flags = ("--frames", 6, "--trials", 3, "--episodes", 2, "--repeats", 1)
    lines = run(capsys, tmp_path / "devices.jsonl", "devices", *flags)
    assert [line["case"] for line in lines] == [
        "1 simulated device",
        f"{DEVICES} simulated devices",
    ]
    policy = scene.policy_variables(scene.policy_only((2, 3, 4), 4), scene.LATE)
    for line in lines:
        assert line["facts"]["averaged_arrays"] > len(jax.tree.leaves(policy))
        assert line["facts"]["averaged_in_loops"] == 0
    assert lines[1]["difference"] <= devices.TOLERANCE
    # Trials of an episode stay together, so that no pair is met twice.
    pairs = [line["facts"]["distinct_pairs"] for line in lines]
    assert pairs[0] == pairs[1] > 0


def test_collectives_in_loops_are_found():
    def gradient(params, frozen, x, rng):
        mean = lambda x: jax.lax.pmean(x, parallel.AXIS)
        looped = jax.lax.fori_loop(0, 3, lambda _, y: mean(y), x)
        return mean(x) + jax.lax.cond(x.sum() > 0, lambda: looped, lambda: x)

    arguments = 0.0, 0.0, jnp.ones(DEVICES), 0.0
    assert devices.collectives(gradient, DEVICES, arguments) == (2, 1)


def test_all_runs_every_case_at_sizes_that_it_takes(capsys, tmp_path, monkeypatch):
    from jaxseg.cli import benchmark

    ran = []
    for name in benchmark_cases.CASES:
        record = lambda args, lines, name=name: (
            ran.append(name) or lines.facts(name, {})
        )
        monkeypatch.setitem(benchmark._RUN, name, record)
    lines = run(capsys, tmp_path / "all.jsonl", "all")
    assert ran == [name for name, case in benchmark_cases.CASES.items() if case.short]
    assert [line["case"] for line in lines] == ran
