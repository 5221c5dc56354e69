"""Train policies of several budgets and seeds together, in one program.

    jaxseg train --config=configs/population.py:synthetic --run=runs/population

The policies are the cross product of `points`. They see the same clips, so that pairs,
deviations and rewards are computed once for all of them; weights, draws of actions and
the optimizer's state are each policy's own. Each is what `configs/policy.py` trains
alone with `--config.policy.eta=ETA --config.seed=SEED` and, as the seed of the clips
(`--config.policy.clip_seed`), the seed of the population. All other fields are those of
configs/policy.py and hold for all policies.

At the end the run folder has a folder for every policy, such as
runs/population/eta0.06-seed0, which stands for a run of that policy alone.
"""

import ml_collections

from configs import policy


def get_config(arg: str = "paper"):
    config = policy.get_config(arg)
    config.stage = "population"
    # What points say of each policy, and `seed` of the clips of all.
    del config.policy.eta
    del config.policy.clip_seed
    config.points = ml_collections.ConfigDict()
    config.points.etas = (0.04, 0.06, 0.14)  # limits of the key ratio
    config.points.seeds = (0,)  # of weights and actions
    if arg == "synthetic":
        config.points.seeds = (0, 1)
    if arg == "smoke":
        config.points.etas = (0.2, 0.4)
        config.points.seeds = (0, 1)
    return config
