import numpy as np

from jaxseg.evaluation import agreement


def test_drawn_pairs_have_their_key_first_and_repeat_with_the_seed():
    pairs = agreement.draw(400, 9, (0, 1))
    assert (pairs.key_frame < pairs.frame).all() and pairs.key_frame.min() == 0
    assert len({*zip(pairs.key_frame.tolist(), pairs.frame.tolist())}) == 9 * 8 // 2
    again, other = agreement.draw(400, 9, (0, 1)), agreement.draw(400, 9, (0, 2))
    np.testing.assert_array_equal(pairs.frame, again.frame)
    assert not np.array_equal(pairs.frame, other.frame)
