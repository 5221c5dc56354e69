import csv
import json
import sys

import numpy as np
import pytest

from jaxseg import build
from jaxseg.benchmark import inference, turns, workload
from jaxseg.cli import main
from jaxseg.models import parameters
from jaxseg.ops import forms

SMALL = ("--networks", "dvsnet:flow", "--size", 64, "--repeats", 1)
PACKAGES = {
    "torch": ("torch",),
    "torch_cl": ("torch",),
    "onnx": ("onnx", "onnxruntime"),
}


def run(capsys, *arguments):
    code = main.main(["benchmark", "inference", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def timed(capsys, out):
    """Return what is printed of a small network, and its row and line in files."""
    lines = out.with_suffix(".jsonl")
    code, said, _ = run(capsys, *SMALL, "--out", out, "--json", lines)
    assert code == 0 and "dvsnet:flow" in said
    with open(out, newline="") as file:
        (row,) = csv.DictReader(file)
    return said, row, json.loads(lines.read_text())


def without_peers(monkeypatch):
    for name in ("torch", "onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)


def test_every_network_is_one_and_has_its_size():
    known = {str(x): x for x in workload.find(workload.NETWORKS)}
    assert len(known) == len(workload.NETWORKS)
    assert known["deeplab-resnet50-beta:segmenter"].inputs()[0].shape[1:3] == (513, 513)


def test_the_policy_is_that_of_the_paper():
    (policy,) = workload.find([("paper", "policy")])
    deviation, ratio, distance = policy.inputs()
    assert deviation.shape == (1, 9, 9, 384)
    assert ratio.shape == distance.shape == (1,)
    shapes = build.shapes(policy.settings, "policy")
    assert parameters.count_parameters(shapes) == 9_476_582


def test_both_forms_are_timed_and_agree(capsys, tmp_path, monkeypatch):
    without_peers(monkeypatch)
    said, row, line = timed(capsys, tmp_path / "b.csv")
    times = float(row["plain_ms"]), float(row["ms"])
    assert float(row["ratio"]) == pytest.approx(times[0] / times[1], rel=1e-2)
    assert line["case"] == "dvsnet:flow" and line["ratio"]["ours"] == 1.0
    assert line["ratio"]["plain"] == pytest.approx(float(row["ratio"]), rel=1e-3)
    assert float(row["cpu_ratio"]) > 0
    assert float(row["difference"]) <= inference.TOLERANCE
    # FlowNet2-s and a 3 x 3 head for 19 classes on 74 channels.
    assert int(row["parameters"]) == 5_462_306 + (9 * 74 + 1) * 19
    header, line = said.splitlines()[2:4]
    assert header.startswith("network") and len(header) == len(line)
    # Without other frameworks.
    assert "without torch: torch is not installed" in said
    assert "without torch, channels_last: torch is not installed" in said
    assert "without onnxruntime: onnx and onnxruntime are not installed" in said
    others = [c for c in row if c.startswith(tuple(inference.PEERS))]
    assert len(others) == 3 * len(inference.PEERS)
    assert {row[c] for c in others} == {""}


def test_the_timed_forms_differ():
    (flow,) = workload.find([("dvsnet", "flow")], 64)
    variables = build.shapes(flow.settings, "flow")
    ours = turns.compiled(flow.apply, variables, *flow.inputs())[0].as_text()
    with forms.plain():
        plain = turns.compiled(flow.apply, variables, *flow.inputs())[0].as_text()
    # The plain form of upsampling is a convolution of a dilated map.
    assert "lhs_dilate" in plain and "lhs_dilate" not in ours


@pytest.mark.parametrize("peer", PACKAGES)
def test_peers_are_timed_where_they_are_installed(capsys, tmp_path, peer):
    for package in PACKAGES[peer]:
        pytest.importorskip(package)
    said, row, _ = timed(capsys, tmp_path / "b.csv")
    times = float(row[f"{peer}_ms"]), float(row["ms"])
    assert float(row[f"{peer}_ratio"]) == pytest.approx(times[0] / times[1], rel=1e-2)
    assert float(row[f"{peer}_cpu_ratio"]) > 0
    assert f"without {inference.PEERS[peer].NAME}" not in said


def test_peers_that_disagree_or_lack_an_operation_are_not_timed(
    capsys, tmp_path, monkeypatch
):
    class Wrong:
        NAME = "wrong"

        def __init__(self, folded, inputs):
            self._shapes = [x.shape for x in folded.outputs]

        def arrays(self):
            return [np.full(shape, 1e6) for shape in self._shapes]

    class Short:
        NAME = "short"

        def __init__(self, *_):
            raise NotImplementedError("no operation 'cumsum'")

    peers = {"first": Wrong, "second": Short}
    monkeypatch.setattr(inference, "PEERS", peers)
    said, row, _ = timed(capsys, tmp_path / "b.csv")
    assert "without wrong: its result differs by" in said
    assert "without short: jaxseg has no operation 'cumsum' for short" in said
    assert row["first_ms"] == row["first_ratio"] == row["second_cpu_ratio"] == ""
    assert float(row["ms"]) > 0


def test_programs_take_turns():
    calls = []
    programs = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = turns.run(programs, 3)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert seconds.keys() == {"a", "b"}
    assert all(x.wall > 0 and x.processor >= 0 for x in seconds.values())


def test_forms_that_disagree_are_refused(capsys, monkeypatch):
    monkeypatch.setattr(turns, "difference", lambda *_: float("nan"))
    code, _, error = run(capsys, *SMALL)
    assert code == 2 and "the forms of dvsnet:flow differ" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--networks", "vgg99:flow"), "change --networks"),
        (("--networks", "dvsnet:flow,vgg99:flow"), "no model 'vgg99'"),
        (("--networks", "fcn8s:flow"), "fcn8s has no part 'flow'"),
        (("--networks", "paper:segmenter"), "NAME:PART with flow or policy"),
        (
            ("--networks", "dvsnet:flow,vgg16:segmenter", "--size", 16),
            "images are 16 x 16 pixels; expected 32 x 32 or more",
        ),
        (("--out", "/nowhere/b.csv"), "/nowhere/b.csv: cannot be written"),
        (("--repeats", 0), "--repeats is 0; expected 1 or more"),
        (("--size", -1), "--size is -1; expected 0 or more"),
    ],
)
def test_mistakes_are_named_before_anything_is_timed(
    capsys, monkeypatch, arguments, message
):
    monkeypatch.setattr(turns, "compiled", None)
    code, _, error = run(capsys, *arguments)
    assert code == 2 and message in error and error.count("\n") == 1


def test_a_result_that_is_no_number_agrees_with_nothing():
    found = [np.zeros(2), np.array([0.0, np.nan])]
    assert np.isnan(turns.difference(found, [np.zeros(2), np.zeros(2)]))
