import hashlib
import json

import numpy as np
import pytest

from jaxseg import build, model_file
from jaxseg.data import source, video
from jaxseg.evaluation import rows as tables
from jaxseg.evaluation import segmentation
from jaxseg.runtime import metrics


@pytest.fixture(scope="module")
def rows(demo):
    return tables.read_csv(demo / "curve" / "curve.csv")


def test_every_stage_is_done(demo):
    for stage in ("segmenter", "flow", "eta06", "eta14", "curve"):
        assert (demo / stage / "DONE").is_file(), stage
    for stage in ("segmenter", "flow", "eta06", "eta14"):
        assert (demo / stage / model_file.NAME).is_file(), stage
        assert metrics.read(demo / stage)[-1]["step"] >= 2, stage


def test_curve_has_the_columns_and_all_schedulers(demo, rows):
    header = (demo / "curve" / "curve.csv").read_text().splitlines()[0]
    assert header == (
        "scheduler,parameter,eta,price,seed,split,videos,frames,keys,aki,miou,"
        "miou_frame_mean,regret,fps"
    )
    names = {row["scheduler"] for row in rows}
    assert names == {"fixed", "random", "policy", "policy_sampled", "optimum"}
    assert {row["eta"] for row in rows if row["scheduler"] == "policy"} == {0.06, 0.14}


def test_numbers_of_a_row_agree_with_one_another(rows):
    for row in rows:
        assert row["videos"] == 2 and row["frames"] == 32 and row["split"] == "C"
        assert row["aki"] == pytest.approx(row["frames"] / row["keys"], rel=1e-4)
        assert 2 <= row["keys"] <= 32
        assert row["regret"] > -1e-6  # nothing beats the optimum
        assert row["scheduler"] == "optimum" or row["fps"] > 0


def test_fixed_intervals_have_their_keys(rows):
    keys = {r["parameter"]: r["keys"] for r in rows if r["scheduler"] == "fixed"}
    assert keys == {1.0: 32.0, 2.0: 16.0, 4.0: 8.0}


def test_every_frame_key_scores_what_the_segmenter_scores(demo, rows):
    model = model_file.load(demo / "flow", ["segmenter", "flow"])
    frames = source.FrameSource(demo / "data", "C", build.input_size(model.settings))
    direct = segmentation.score_frames(
        model.settings, model.variables, frames, np.arange(len(frames))
    )
    row = next(r for r in rows if r["scheduler"] == "fixed" and r["parameter"] == 1)
    assert row["miou"] == pytest.approx(direct.miou, abs=2e-5)
    assert row["miou_frame_mean"] == pytest.approx(direct.miou_frame_mean, abs=2e-5)


def test_comparison_is_paired_and_at_the_policys_own_interval(demo, rows):
    found = json.loads((demo / "curve" / "comparison.json").read_text())
    assert [policy["eta"] for policy in found["policies"]] == [0.06, 0.14]
    for policy in found["policies"]:
        row = next(
            r
            for r in rows
            if r["scheduler"] == "policy_sampled" and r["eta"] == policy["eta"]
        )
        assert policy["aki"] == pytest.approx(row["aki"], rel=1e-4)
        decisions = row["frames"] - row["videos"]
        assert policy["key_rate"] == pytest.approx(
            (row["keys"] - row["videos"]) / decisions, rel=1e-4
        )


def test_figure_and_overlay_can_be_opened(demo):
    import matplotlib.image

    figure = matplotlib.image.imread(demo / "curve" / "curve.png")
    assert figure.shape[0] > 500 and figure[..., :3].std() > 0.05
    frames = list(video.read_video(demo / "overlay.mp4"))
    assert len(frames) == 16
    # The first frame is key by rule and has the border of one.
    red, green, blue = frames[0][1:3, 40:-40].reshape(-1, 3).mean(0)
    assert red > 180 and green > 140 and blue < 120  # overlay.KEY_COLOUR, compressed


def test_a_second_run_says_done_and_changes_nothing(demo, jaxseg):
    before = _digests(demo)
    code, out, _ = jaxseg("demo", "--preset", "smoke", "--out", demo)
    assert code == 0 and f"{demo} was done before" in out
    assert "eta 0.06: sampled without the stop rule" in out
    assert _digests(demo) == before


def _digests(folder):
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
