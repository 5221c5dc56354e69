"""The smaller benchmarks: streams, memory, the optimum, devices."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.benchmark import (
    cost,
    devices,
    measures,
    memory,
    peaks,
    scene,
    stream,
    targets,
    training,
)
from jaxseg.cli import benchmark_cases, main
from jaxseg.errors import UserError
from jaxseg.runtime import parallel

DEVICES = 2


@pytest.fixture(autouse=True)
def small(thin, monkeypatch):
    """Make networks narrow and drawn deviations small."""
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
    # Beyond what is kept: some numbers a trial, a decision and a pair, and the
    # deviations of one frame.
    assert many.temporary - few.temporary <= many.lists() - few.lists()
    for row in (few, many):
        assert row.kept < row.results <= row.kept + row.lists()
    # The plain rollout holds maps for every trial.
    assert many.plain - few.plain > 3 * (many.lists() - few.lists())
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
    assert lines[1]["difference"] <= training.TOLERANCE
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


def test_figures_stand_beside_their_targets(capsys, tmp_path, monkeypatch):
    def failing(work):
        raise UserError("the case x differs")
        yield

    monkeypatch.setitem(targets.PARTS, "plain", failing)
    sizes = {"size": 33, "frames": 5, "trials": 2, "episodes": 2, "updates": 1}
    sizes |= {"batch": 1, "repeats": 1, "parts": "plain,encoder,step,depthwise,update"}
    flags = [x for name, value in sizes.items() for x in (f"--{name}", value)]
    out = tmp_path / "targets.jsonl"
    assert (
        main.main(list(map(str, ("benchmark", "targets", *flags, "--json", out)))) == 0
    )
    said = capsys.readouterr().out
    first, *lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert first["note"] == "plain: failed, the case x differs" in said
    found = {line["case"]: line for line in lines}
    assert list(found) == [
        *("encoder, batch 1", "encoder, batch 1, conv1 split"),
        "step of the loop, one pair",
        *(f"depthwise, dilation {rate}" for rate in (6, 12, 18)),
        *("update", "300 updates, extrapolated"),
    ]
    # Targets hold for the paper's sizes alone.
    assert all(line["goal"] is None and not line["reached"] for line in lines)
    whole, split = lines[:2]
    assert whole["value"] == pytest.approx(1e6 * whole["seconds"])
    # What is done before is not counted.
    assert 0 < split["flop"] < whole["flop"]
    assert 0 < whole["share_of_peak"] and found["update"]["share_of_peak"] > 0
    minutes = found["300 updates, extrapolated"]["value"]
    assert minutes == pytest.approx(300 * found["update"]["value"] / 60)
    assert found["update"]["facts"]["distinct_pairs"] > 0


def test_a_figure_reaches_its_target_from_the_right_side():
    def line(value, goal):
        figure = measures.Figure("x", value, "s", 1.0, 0.0, 0.0, {})
        return targets.Line("x", figure, 0.5, goal).reached()

    most, least = targets.Goal(2.0, 1.0, True), targets.Goal(1.0, 2.0, False)
    assert [line(x, most) for x in (0.9, 1.5, 2.1)] == ["ambitious", "target", "no"]
    assert [line(x, least) for x in (2.1, 1.5, 0.9)] == ["ambitious", "target", "no"]
    assert line(5.0, least._replace(ambitious=np.nan)) == "target"
    assert line(5.0, None) == ""


def test_parts_are_left_out_when_the_time_is_over():
    sizes = measures.Sizes(size=33, precision="float32")
    found = list(targets.measure(sizes, ["encoder", "update"], 0))
    assert [x.partition(":")[0] for x in found] == ["encoder", "update"]
    assert all("left out" in x for x in found)
    with pytest.raises(UserError, match="no part 'x'"):
        next(targets.measure(sizes, ["x"], 1))


def test_peaks_come_from_a_data_sheet_where_the_device_is_known(monkeypatch):
    device = SimpleNamespace(device_kind="NVIDIA H200")
    monkeypatch.setattr(jax, "devices", lambda: [device])
    fine, coarse = peaks.of_device(jnp.float32), peaks.of_device(jnp.bfloat16)
    assert coarse.rate == pytest.approx(2 * fine.rate, rel=1e-3)
    assert "H200" in fine.source
    assert coarse.share(coarse.rate, 2.0) == 0.5
    device.device_kind = "cpu"
    measured = peaks.of_device(jnp.float32)
    assert "measured" in measured.source and 0 < measured.rate < fine.rate


def test_work_is_counted_as_it_is_done():
    images, kernel = jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 1, 3, 5))
    same = lambda x, k: jax.lax.conv_general_dilated(
        x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert cost.flop(same, images, kernel) == 2 * 8 * 8 * 3 * 5


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
