import numpy as np
import pytest

from jaxseg.evaluation import intervals


def test_reads_a_curve_in_log_aki():
    akis, values = np.array([20.0, 5.0]), np.array([[0.4, 4.0], [0.8, 8.0]])
    np.testing.assert_allclose(intervals.at_aki(10.0, akis, values), [0.6, 6.0])
    np.testing.assert_allclose(intervals.at_aki(20.0, akis, values), [0.4, 4.0])
    assert np.isnan(intervals.at_aki(30.0, akis, values)).all()


def test_infinite_intervals_are_no_points_of_a_curve():
    akis, values = np.array([np.inf, 20.0, 5.0]), np.array([0.1, 0.4, 0.8])
    assert intervals.at_aki(10.0, akis, values) == pytest.approx(0.6)
    assert intervals.at_aki(20.0, akis, values) == pytest.approx(0.4)
    for target in (30.0, np.inf):
        assert np.isnan(intervals.at_aki(target, akis, values))
    assert np.isnan(intervals.at_aki(5.0, akis[:1], values[:1]))


def test_bootstrap_of_equal_differences_has_no_width():
    found = intervals.paired_bootstrap(np.full(5, 0.3), np.arange(1, 6))
    np.testing.assert_allclose(found, 0.3)


def test_bootstrap_interval_has_the_normal_width():
    draw = np.random.default_rng(0)
    values = draw.normal(1.0, 2.0, 400)
    found = intervals.paired_bootstrap(values, np.ones(400))
    assert found.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert found.high - found.mean == pytest.approx(half, rel=0.1)
    assert found.mean - found.low == pytest.approx(half, rel=0.1)


def test_mean_weighs_videos_by_their_frames():
    found = intervals.paired_bootstrap(np.array([0.0, 1.0]), np.array([1.0, 3.0]))
    assert found.mean == pytest.approx(0.75)
