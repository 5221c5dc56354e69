import matplotlib.image
import numpy as np

from jaxseg.evaluation import plots


def row(scheduler, aki, miou, eta=None):
    return {
        "scheduler": scheduler,
        "eta": eta,
        "seed": None,
        "aki": aki,
        "miou_frame_mean": miou,
    }


def test_points_without_a_chosen_key_are_left_out(tmp_path):
    """Their interval is infinite where first frames do not count."""
    drawn = [row("fixed", 1.0, 0.8), row("fixed", 4.0, 0.7), row("optimum", 4.0, 0.75)]
    drawn += [row("policy", 3.0, 0.7, 0.06), row("policy_sampled", 5.0, 0.7, 0.06)]
    endless = [row("fixed", np.inf, 0.1), row("policy", np.inf, 0.2, 0.06)]
    for name, rows in (("a.png", drawn), ("b.png", [*endless, *drawn])):
        plots.draw_curve(rows, tmp_path / name, title="title")
    a, b = (matplotlib.image.imread(tmp_path / name) for name in ("a.png", "b.png"))
    assert a.std() > 0.05
    np.testing.assert_array_equal(a, b)
