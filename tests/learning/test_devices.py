"""What the policy learns on 1, 2, 4 and 8 devices, by trials that share their pairs.

The suite has fewer devices, so one process of its own computes it all.
"""

import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg import dynamic
from jaxseg.learning import shared
from jaxseg.runtime import parallel
from tests import fakes
from tests.dynamic.test_sharing import HALVES
from tests.learning.test_policy import TRIALS, make_units, pool, recipe

UPDATES = 3
SHARING = dynamic.Sharing(buckets=(16,), kept=0, score_batch=8, gradient_batch=16)
# Episodes, devices, how. Two episodes on eight devices have their trials split.
CASES = (
    (8, 1, "pmap"),
    (8, 2, "pmap"),
    (8, 4, "pmap"),
    (8, 8, "pmap"),
    (2, 1, "pmap"),
    (2, 8, "pmap"),
    (2, 8, "shard_map"),
)


def device_function(chosen):
    """Return the gradient, with the actions that it was taken on beside it."""
    gradient = shared.gradient_fn(chosen, dynamic.pooled_pair, HALVES, how=SHARING)

    def both(params, tables, units, rng):
        rngs = jax.vmap(
            lambda index, trials: dynamic.trial_rngs(
                jax.random.fold_in(rng, index), trials
            )
        )(units.episode_index, units.trials)
        rolled = dynamic.rollout_episodes(
            dynamic.pooled_pair,
            dynamic.sampled(HALVES),
            dynamic.RolloutParams(
                tables,
                (params, jnp.float32(chosen.action_cap)),
                jnp.float32(chosen.eta),
            ),
            rngs,
            units.episode,
            rules=chosen.rules,
            how=SHARING,
        )
        actions = jax.lax.all_gather(rolled.trials.action, parallel.AXIS, tiled=True)
        return gradient(params, tables, units, rng), actions

    return both


def train(episodes, num_devices, how):
    """Return the actions of all updates and the parameters after them."""
    chosen = recipe(num_devices, episodes=episodes)
    tables = pool(episodes)
    spread = parallel.data_parallel(
        device_function(chosen),
        (None, None, 0, None),
        num_devices=num_devices,
        how=how,
    )
    tx = optax.rmsprop(1e-2, decay=0.9, eps=1e-10, initial_scale=1.0)
    params = fakes.policy_variables(2)
    state, actions = tx.init(params), []
    for step in range(UPDATES):
        batch = make_units(episodes, tables, chosen.split_trials)
        rng = jax.random.key(step)
        (grads, _), taken = spread(params, tables, batch, rng)
        updates, state = tx.update(jax.device_get(grads), state)
        params = optax.apply_updates(params, updates)
        actions.append(np.asarray(taken).reshape(episodes, TRIALS, -1))
    return {"actions": np.stack(actions)} | jax.device_get(params)


def write(path):
    """Train every case and write what came out."""
    found = {}
    for number, case in enumerate(CASES):
        found |= {f"{number}/{name}": x for name, x in train(*case).items()}
    np.savez(path, **found)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "found.npz"
    flags = os.environ["XLA_FLAGS"]
    count = "--xla_force_host_platform_device_count="
    assert count in flags
    subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys; from tests.learning import test_devices as here;"
            "here.write(sys.argv[1])",
            str(path),
        ],
        env=os.environ
        | {
            "XLA_FLAGS": re.sub(rf"{count}\d+", f"{count}8", flags),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        check=True,
        timeout=400,
    )
    with np.load(path) as file:
        arrays = dict(file)
    return {
        case: {
            name.partition("/")[2]: x
            for name, x in arrays.items()
            if name.startswith(f"{number}/")
        }
        for number, case in enumerate(CASES)
    }


@pytest.mark.parametrize("case", [case for case in CASES if case[1] > 1])
def test_what_is_learned_does_not_depend_on_the_number_of_devices(trained, case):
    one, many = trained[(case[0], 1, "pmap")], trained[case]
    assert 0 < one["actions"].sum() < one["actions"].size
    assert (one["actions"][0] != one["actions"][1]).any()
    np.testing.assert_array_equal(many["actions"], one["actions"])
    moved = fakes.policy_variables(2)
    for name in one.keys() - {"actions"}:
        assert np.abs(one[name] - moved[name]).max() > 1e-3
        np.testing.assert_allclose(many[name], one[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("episodes", "gathers"), [(4, 0), (2, 1)])
def test_an_update_has_one_sum_over_the_devices(episodes, gathers):
    """Trials of an episode on several devices need their baseline from all, too."""
    chosen, tables = recipe(4, episodes=episodes), pool(episodes)
    gradient = shared.gradient_fn(chosen, dynamic.pooled_pair, HALVES, how=SHARING)
    mesh = jax.sharding.Mesh(np.array(parallel.devices(4)), (parallel.AXIS,))
    split, whole = (
        jax.sharding.PartitionSpec(*axis) for axis in ([mesh.axis_names[0]], [])
    )
    mapped = jax.shard_map(
        gradient,
        mesh=mesh,
        in_specs=(whole, whole, split, whole),
        out_specs=whole,
        check_vma=False,
    )
    batch = make_units(episodes, tables, chosen.split_trials)
    arguments = fakes.policy_variables(2), tables, batch, jax.random.key(5)
    text = jax.jit(mapped).lower(*arguments).compile().as_text()
    assert len(re.findall(r" all-reduce(?:-start)?\(", text)) == 1
    assert len(re.findall(r" all-gather(?:-start)?\(", text)) == gathers
