"""Rows and comparisons from clip scores made by hand."""

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.evaluation import clips, curves, rows, specs
from jaxseg.evaluation.speed import StepTimes


def outcome(keys, scores):
    """Two classes; every frame is half right, whatever the scheduler."""
    confusion = np.tile(np.array([[6.0, 2.0], [0.0, 2.0]]), (len(keys), 1, 1))
    return clips.Outcome(np.array(keys, float), np.array(scores, float), confusion)


def clip(frames, fixed_keys, fixed_scores, sampled, best):
    outcomes = {
        "fixed": outcome(fixed_keys, fixed_scores),
        "random": outcome([4.0, 1.0], [3.0, 2.0]),
        "sampled": outcome([sampled[0]], [sampled[1]]),
    }
    return clips.ClipScores(frames, 1, outcomes, np.array(best, float))


COMPARED = {
    "fixed": specs.fixed((1, 2)),
    "random": specs.random((1.0, 0.0), draws=3),
    "sampled": specs.Spec(
        "policy_sampled", None, np.ones(1), {"p": 0}, 3, eta=0.5, seed=7, kind="policy"
    ),
}
# Four frames a clip; video 1 has two clips, video 2 has one.
FIRST = clip(4, [4, 2], [3.2, 2.4], (2.0, 2.9), [2.0, 2.8, 3.1, 3.2])
SECOND = clip(4, [4, 2], [3.0, 2.6], (1.0, 2.1), [2.2, 2.7, 2.9, 3.0])
THIRD = clip(4, [4, 2], [3.6, 3.0], (3.0, 3.3), [2.4, 3.3, 3.5, 3.6])
VIDEOS = {"001": clips.merge([FIRST, SECOND]), "002": clips.merge([THIRD])}


def test_merge_adds_frames_clips_and_scores():
    video = VIDEOS["001"]
    assert (video.frames, video.clips) == (8, 2)
    np.testing.assert_allclose(video.outcomes["fixed"].keys, [8, 4])
    np.testing.assert_allclose(video.outcomes["fixed"].score, [6.2, 5.0])
    # Entry n is n + 1 keys: one clip cannot have none.
    np.testing.assert_allclose(
        video.optimum[:4], [-np.inf, 2.0 + 2.2, 2.8 + 2.2, 2.8 + 2.7]
    )


def test_rows_follow_their_definitions():
    times = StepTimes({"rule": (0.4, 0.1), "policy": (0.5, 0.2)}, "here")
    table = rows.rows(VIDEOS, COMPARED, "C", times)
    half = next(r for r in table if r["scheduler"] == "fixed" and r["parameter"] == 2)
    assert half["videos"] == 2 and half["frames"] == 12 and half["keys"] == 6
    assert half["aki"] == 2.0
    assert half["miou_frame_mean"] == pytest.approx(8.0 / 12)
    assert half["miou"] == pytest.approx((6 / 8 + 2 / 4) / 2)
    # Best use of 6 keys over three clips: 2 each, 2.8 + 2.7 + 3.3.
    assert half["regret"] == pytest.approx((8.8 - 8.0) / 12)
    # 12 frames less 3 first ones; 3 chosen keys at .4 s and 6 others at .1 s.
    assert half["fps"] == pytest.approx(9 / (3 * 0.4 + 6 * 0.1))
    sampled = next(r for r in table if r["scheduler"] == "policy_sampled")
    assert (sampled["eta"], sampled["seed"]) == (0.5, 7)
    assert sampled["fps"] == pytest.approx(9 / (3 * 0.5 + 6 * 0.2))


def test_optimum_rows_leave_out_what_no_schedule_reaches():
    table = rows.rows(VIDEOS, COMPARED, "C")
    keys = [row["keys"] for row in table if row["scheduler"] == "optimum"]
    assert keys == [6, 4, 3]  # every clip's first frame is key: at least 3
    assert table[-1]["miou_frame_mean"] == pytest.approx((2.0 + 2.2 + 2.4) / 12)


def test_first_frames_may_be_left_out_of_the_interval():
    readings = rows.Readings(count_first_frames=False)
    table = rows.rows(VIDEOS, COMPARED, "C", readings=readings)
    half = next(r for r in table if r["scheduler"] == "fixed" and r["parameter"] == 2)
    assert half["aki"] == pytest.approx((12 - 3) / (6 - 3))
    alone = next(r for r in table if r["scheduler"] == "random" and r["parameter"] == 0)
    assert alone["aki"] == np.inf  # no key but the first ones
    found = rows.against_random(VIDEOS, COMPARED, "sampled", 0, readings=readings)
    assert found.aki == pytest.approx((12 - 3) / (6 - 3))
    assert found.difference is None  # random keys have an interval of 1, and none


def test_optimum_has_each_number_of_chosen_keys_once():
    """12 frames, 3 of them first: 9 / AKI keys, rounded, beside those 3."""
    readings = rows.Readings(count_first_frames=False)
    table = rows.rows(VIDEOS, COMPARED, "C", readings=readings)
    best = [row for row in table if row["scheduler"] == "optimum"]
    assert [row["keys"] for row in best] == [7, 6, 5, 4]
    np.testing.assert_allclose([row["aki"] for row in best], [9 / 4, 3, 9 / 2, 9])
    # In each video: 6 / AKI and 3 / AKI.
    table = rows.rows(
        VIDEOS, COMPARED, "C", readings=readings._replace(optimum_budget="video")
    )
    keys = [row["keys"] for row in table if row["scheduler"] == "optimum"]
    assert keys == [8, 6, 5, 4]


def test_comparison_of_a_point_without_an_interval_is_none():
    readings = rows.Readings(count_first_frames=False)
    found = rows.against_random(VIDEOS, COMPARED, "random", 1, readings=readings)
    assert found.aki == np.inf and found.key_rate == 0 and found.difference is None


def test_optimum_may_have_the_keys_of_every_video():
    """Policy: 3 keys in the first video, 3 in the second; the split could trade."""
    readings = rows.Readings(optimum_budget="video")
    table = rows.rows(VIDEOS, COMPARED, "C", readings=readings)
    sampled = next(r for r in table if r["scheduler"] == "policy_sampled")
    # Three keys in two clips: 2.8 + 2.2; three in one: 3.5.
    assert sampled["regret"] == pytest.approx((5.0 + 3.5 - 8.3) / 12)
    free = rows.rows(VIDEOS, COMPARED, "C")
    whole = next(r for r in free if r["scheduler"] == "policy_sampled")
    assert whole["regret"] == pytest.approx((8.8 - 8.3) / 12)
    keys = [row["keys"] for row in table if row["scheduler"] == "optimum"]
    assert keys == [6, 4, 3]  # AKI 2, 3 and 4; 5 rounds to the last in each video


def test_classes_of_the_pooled_mean():
    readings = rows.Readings(classes="foreground")
    table = rows.rows(VIDEOS, COMPARED, "C", readings=readings)
    assert table[0]["miou"] == pytest.approx(2 / 4)


def test_comparison_reads_random_keys_at_the_policys_interval():
    found = rows.against_random(VIDEOS, COMPARED, "sampled", 0)
    assert found.aki == 2.0
    assert found.key_rate == pytest.approx((6 - 3) / (12 - 3))
    # Random keys: AKI 1 scores .75, AKI 4 scores .5 of each clip; AKI 2 is halfway.
    ours = (2.9 + 2.1 + 3.3) / 12
    assert found.difference.mean == pytest.approx(ours - 0.625)


def test_comparison_outside_the_random_sweep_is_none():
    narrow = {**COMPARED, "random": specs.random((1.0,), draws=3)}
    videos = {
        name: video._replace(
            outcomes={**video.outcomes, "random": outcome([4.0 * video.clips], [1.0])}
        )
        for name, video in VIDEOS.items()
    }
    assert rows.against_random(videos, narrow, "sampled", 0).difference is None


def test_csv_round_trip(tmp_path):
    table = rows.rows(VIDEOS, COMPARED, "C")
    rows.write_csv(tmp_path / "curve.csv", table)
    back = rows.read_csv(tmp_path / "curve.csv")
    assert [tuple(row) for row in back] == [rows.COLUMNS] * len(table)
    assert back[0]["fps"] is None and back[0]["scheduler"] == "fixed"
    assert back[0]["miou_frame_mean"] == pytest.approx(
        table[0]["miou_frame_mean"], rel=1e-5
    )


class Frames:
    """What cutting into clips needs of a source."""

    split = "C"

    def __init__(self, *lengths):
        starts = np.cumsum([0, *lengths])
        self.runs = [
            type("Run", (), {"start": int(s), "length": n})
            for s, n in zip(starts, lengths, strict=False)
        ]

    def locate(self, record):
        return f"{record:03d}", 1


def test_clips_are_equal_parts_without_a_frame_lost():
    found = curves.clips_of(Frames(10, 1, 7), 4)
    assert [(c.start, c.length) for c in found] == [
        (0, 3),
        (3, 3),
        (6, 4),
        (11, 3),
        (14, 4),
    ]
    assert [c.video for c in found] == ["000"] * 3 + ["011"] * 2
    assert [c.length for c in curves.clips_of(Frames(10, 7), 0)] == [10, 7]


def test_no_clip_is_a_single_frame():
    found = curves.clips_of(Frames(5, 3, 2, 4), 2)
    assert [(c.start, c.length) for c in found] == [
        (0, 2),
        (2, 3),
        (5, 3),
        (8, 2),
        (10, 2),
        (12, 2),
    ]


def test_single_frames_are_refused():
    with pytest.raises(UserError, match="split C has no run of two or more frames"):
        curves.clips_of(Frames(1, 1), 0)
