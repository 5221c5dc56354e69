import numpy as np
import pytest

from jaxseg import dynamic
from jaxseg.dynamic import pairs
from tests import fakes


def test_rows_follow_the_order_of_all_pairs():
    keys, frames = dynamic.all_pairs(13)
    assert len(keys) == 13 * 12 // 2 and (keys < frames).all()
    np.testing.assert_array_equal(pairs.pair_row(keys, frames), np.arange(len(keys)))


@pytest.mark.parametrize("batch_size", [7, 64])
def test_table_holds_every_pair(batch_size):
    episode, finished = fakes.episode(1, 9), []
    table = dynamic.build_table(
        fakes.PAIR,
        fakes.VARIABLES,
        episode,
        batch_size=batch_size,
        dtype=np.float16,
        progress=finished.append,
    )
    assert sum(finished) == 36 and table.deviations.dtype == np.float16
    dense = dynamic.dense_scores(table.scores, 9)
    for frame in range(9):
        for key in range(frame):
            pair = fakes.PAIR(fakes.VARIABLES, episode, key, frame)
            assert dense[key, frame] == pytest.approx(float(pair.non_key_score))
            row = int(pairs.pair_row(key, frame))
            np.testing.assert_allclose(
                table.deviations[row], pair.deviation, rtol=1e-3, atol=1e-4
            )
    assert np.isnan(dense[np.tril_indices(9)]).all()
