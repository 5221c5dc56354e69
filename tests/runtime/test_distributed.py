"""Claims about who a process is among several; tests/system has several of them."""

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.runtime import distributed

STEP = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_NODEID": "0"}


@pytest.mark.parametrize(
    ("environment", "ids"),
    [
        # One task a node has all GPUs of it, however they are numbered there.
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x4)", "CUDA_VISIBLE_DEVICES": "2,3"}, [0, 1]),
        # --gpus-per-task=1: every task sees its own as the first.
        ({"SLURM_STEP_TASKS_PER_NODE": "4", "CUDA_VISIBLE_DEVICES": "0"}, [0]),
        # One for each of the GPUs that all see: what JAX does by itself.
        ({"SLURM_STEP_TASKS_PER_NODE": "4", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x4)"}, None),
        (
            {
                "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
                "SLURM_NODEID": "2",
                "CUDA_VISIBLE_DEVICES": "0,1",
            },
            [0, 1],
        ),
        (
            {
                "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
                "SLURM_NODEID": "1",
                "CUDA_VISIBLE_DEVICES": "0,1",
            },
            None,
        ),
    ],
)
def test_a_slurm_task_has_its_share_of_the_gpus(environment, ids):
    assert distributed.slurm_devices(STEP | environment) == ids


@pytest.fixture
def joined(monkeypatch):
    """Collect what JAX is asked for instead of waiting for others."""
    found = []
    monkeypatch.setattr(
        distributed.jax.distributed, "initialize", lambda *a, **k: found.append((a, k))
    )
    return found


def test_alone_unless_settings_or_srun_say_otherwise(joined):
    batch_script = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}
    assert not distributed.initialize(distributed.Settings(), {})
    assert not distributed.initialize(distributed.Settings(), batch_script)
    assert not distributed.initialize(distributed.Settings(processes=1), STEP)
    assert joined == []
    assert distributed.initialize(distributed.Settings(), STEP)
    assert distributed.initialize(distributed.Settings(device_ids=(2,)), STEP)
    assert distributed.initialize(distributed.Settings("node1:1234", 2, 1), STEP)
    (_, slurm), (_, chosen), (by_hand, by_hand_named) = joined
    assert slurm["cluster_detection_method"] == "slurm"
    assert slurm["local_device_ids"] is None and chosen["local_device_ids"] == [2]
    assert by_hand == ("node1:1234", 2, 1, None)
    assert by_hand_named["cluster_detection_method"] == "deactivate"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (distributed.Settings("node1", 2, 0), "runtime.coordinator"),
        (distributed.Settings("", 2, 0), "runtime.coordinator"),
        (distributed.Settings("node1:1234", 2, 2), "runtime.process"),
        (distributed.Settings("node1:1234", 2), "runtime.process"),
        (distributed.Settings("node1:1234"), "runtime.processes"),
        (distributed.Settings(process=1), "runtime.coordinator"),
    ],
)
def test_half_of_the_settings_is_refused(joined, settings, field):
    with pytest.raises(UserError, match=field):
        distributed.initialize(settings, {})
    assert joined == []


@pytest.mark.parametrize("processes", [0, 1])
def test_the_gpus_of_one_process_are_not_chosen_here(joined, processes):
    settings = distributed.Settings(processes=processes, device_ids=(2,))
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES"):
        distributed.initialize(settings, {})
    assert joined == []


def test_what_differs_between_processes_is_named(monkeypatch):
    """As the first of two sees it, whose other one has `others`."""
    monkeypatch.setattr(distributed.jax, "process_count", lambda: 2)
    others = {"runtime.devices": 2, "runtime.how": "pmap"}

    def gather(mine):
        # What the other one would send.
        with monkeypatch.context() as patch:
            sent = []
            patch.setattr(
                distributed.multihost_utils,
                "process_allgather",
                lambda x: sent.append(x) or x[None],
            )
            distributed.check_same(others)
        return np.stack([mine, *sent])

    monkeypatch.setattr(distributed.multihost_utils, "process_allgather", gather)
    distributed.check_same(others)
    with pytest.raises(
        UserError, match=r"in runtime.how \('shard_map' in process 0\);"
    ):
        distributed.check_same(others | {"runtime.how": "shard_map"})


def test_one_process_hears_itself_and_is_the_first():
    poll = distributed.StopPoll()
    assert [poll.ask(stop) for stop in (False, True)] == [False, True]
    assert distributed.is_first() and not distributed.several()
    assert distributed.from_first(True) and not distributed.from_first(False)
    assert distributed.mine([1, 2, 3]) == [1, 2, 3]
    with pytest.raises(OSError, match="full"):
        distributed.on_first(_full)


def _full():
    raise OSError("full")
