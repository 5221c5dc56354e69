"""Small networks for the benchmarks."""

import pytest

from jaxseg.benchmark import scene, workload


@pytest.fixture
def thin(monkeypatch):
    """Make F and the policy narrow; nothing else about them changes."""
    monkeypatch.setitem(scene.FLOW, "base_channels", 2)
    monkeypatch.setitem(workload.PAPER_POLICY, "conv_channels", 4)
    monkeypatch.setitem(workload.PAPER_POLICY, "hidden", (8, 8, 8))
