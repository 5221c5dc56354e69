import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import dynamic
from tests import fakes


def random_table(seed, num_frames, max_gap=None):
    draw = np.random.default_rng(seed)
    scores = draw.uniform(0.2, 0.9, (num_frames, num_frames))
    gap = np.arange(num_frames)[None] - np.arange(num_frames)[:, None]
    scores[gap < 1] = np.nan
    if max_gap is not None:
        scores[gap > max_gap] = np.nan
    return scores, draw.uniform(0.5, 1.0, num_frames)


def total(scores, key_scores, schedule):
    value, key = 0.0, 0
    for frame, is_key in enumerate(schedule):
        key = frame if is_key else key
        value += key_scores[frame] if is_key else scores[key, frame]
    return value


def every_schedule(num_frames):
    for rest in itertools.product([False, True], repeat=num_frames - 1):
        yield (True, *rest)


@pytest.mark.parametrize("max_gap", [None, 4])
@pytest.mark.parametrize("seed", range(3))
def test_optimum_equals_brute_force(seed, max_gap):
    scores, key_scores = random_table(seed, 11, max_gap)
    best = np.full(12, -np.inf)
    for schedule in every_schedule(11):
        value = total(scores, key_scores, schedule)
        if not np.isnan(value):
            best[sum(schedule)] = max(best[sum(schedule)], value)
    found = dynamic.optimum(scores, key_scores)
    np.testing.assert_allclose(found.totals, best[1:], rtol=1e-12)
    for num_keys in np.flatnonzero(np.isfinite(best)):
        schedule = found.schedule(num_keys)
        assert schedule.sum() == num_keys and schedule[0]
        assert total(scores, key_scores, schedule) == pytest.approx(best[num_keys])


def test_all_keys_score_the_key_scores():
    scores, key_scores = random_table(5, 8)
    assert dynamic.optimum(scores, key_scores).totals[-1] == pytest.approx(
        key_scores.sum()
    )


def test_combined_budget_equals_brute_force_over_the_split():
    videos = [random_table(seed, length) for seed, length in ((1, 4), (2, 5), (3, 3))]
    totals = [dynamic.optimum(*video).totals for video in videos]
    combined = dynamic.combine(totals)
    assert len(combined) == 4 + 5 + 3 + 1 and np.isinf(combined[:3]).all()
    for budget in range(3, 13):
        best = max(
            sum(t[n - 1] for t, n in zip(totals, counts, strict=True))
            for counts in itertools.product(range(1, 5), range(1, 6), range(1, 4))
            if sum(counts) == budget
        )
        assert combined[budget] == pytest.approx(best)


def test_scheduler_that_replays_the_optimum_scores_it():

    episode = fakes.episode(4, 12)
    table = dynamic.build_table(fakes.PAIR, fakes.VARIABLES, episode, dtype=np.float32)
    found = dynamic.optimum(dynamic.dense_scores(table.scores, 12), table.key_scores)

    trajectory = dynamic.rollout(
        fakes.PAIR,
        dynamic.replay(),
        fakes.params(jnp.asarray(found.schedule(4))),
        jax.random.key(0),
        episode,
    )
    reached = float(trajectory.score.sum() + episode.key_scores[0])
    assert reached == pytest.approx(found.totals[3], rel=1e-5)
