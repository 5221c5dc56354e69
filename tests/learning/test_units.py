"""How a mini-batch is cut for devices, and which numbers are refused."""

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.learning import units


@pytest.mark.parametrize(
    ("episodes", "trials", "devices", "split"),
    [(8, 32, 1, 1), (8, 32, 8, 1), (8, 32, 4, 1), (2, 32, 8, 4), (1, 32, 8, 8)],
)
def test_every_trial_is_in_one_unit_and_units_divide(episodes, trials, devices, split):
    assert units.devices_per_episode(episodes, trials, devices) == split
    names = np.arange(episodes)
    made = units.make_units(names, episodes, trials, split)
    assert len(made.trials) % devices == 0
    np.testing.assert_array_equal(made.episode, made.episode_index)
    found = {
        (episode, trial)
        for episode, row in zip(made.episode_index, made.trials, strict=True)
        for trial in row
    }
    assert found == {(e, t) for e in range(episodes) for t in range(trials)}
    assert made.trials.size == episodes * trials


@pytest.mark.parametrize(
    ("episodes", "trials", "devices"), [(8, 32, 3), (6, 32, 4), (2, 6, 8), (3, 32, 8)]
)
def test_numbers_that_do_not_divide_name_the_fields(episodes, trials, devices):
    with pytest.raises(UserError) as error:
        units.devices_per_episode(episodes, trials, devices)
    message = str(error.value)
    assert f"found {episodes} episodes of {trials} trials for {devices} dev" in message
    for field in ("policy.episodes", "policy.trials", "runtime.devices"):
        assert field in message
