"""Policies over the key budget eta: the points of a trade-off curve.

python -m launch.sweep --sweep=configs/sweeps/eta.py --out=runs/sweep_eta

Every point draws clips of its own; configs/population.py trains policies together on
the same ones.
"""

CONFIG = "configs/policy.py:synthetic"


def sweep(add):
    """Add one point for every budget and seed."""
    for eta in (0.04, 0.06, 0.10, 0.14):
        for seed in (0, 1, 2):
            add(**{"policy.eta": eta, "seed": seed})
