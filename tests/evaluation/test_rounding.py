import numpy as np
import pytest

from jaxseg import build, dynamic
from jaxseg.data import sampling
from jaxseg.evaluation import rounding
from jaxseg.ops import stored
from tests.evaluation import test_feature_store as store_tests

tiny = store_tests.tiny


class Source:
    """The noise of the store's tests, all of it labelled."""

    def __init__(self):
        self._noise = store_tests.Frames()
        self.split, self.runs = self._noise.split, self._noise.runs
        self.labelled = np.arange(len(self._noise.images))

    def frames(self, records):
        return self._noise.images[records], self._noise.labels[records]

    def images(self, records):
        return self._noise.images[records]


@pytest.mark.parametrize(
    "architecture, pseudo_labels, precision",
    [
        ("tiny", False, "float32"),
        ("tiny", True, "float32"),
        ("tiny_logits", False, "bfloat16"),
    ],
)
def test_losses_are_those_of_scores_from_rounded_features(
    tiny, monkeypatch, architecture, pseudo_labels, precision
):
    """Where nothing moves, a propagated frame is what the key's features say."""
    model = store_tests.make(architecture)
    settings = model.settings | {"flow": {}}
    model = model._replace(settings=settings)
    asked = []

    def still(settings, precision):
        asked.append(precision)
        return dynamic.Framework(
            build.feature_fn(settings, precision),
            build.task_fn(settings),
            view_fn=lambda variables, image: 0,
            motion_fn=lambda variables, view, key_view: 0,
            deviation_fn=lambda motion: motion,
            propagate_fn=lambda motion, features: features,
        )

    monkeypatch.setattr(build, "framework", still)
    frames, scoring = Source(), build.Scoring(pseudo_labels)
    reward, found = rounding.losses(
        model, frames, 19, max_gap=5, seed=3, scoring=scoring, precision=precision
    )
    assert asked == [precision]

    net, score_fn = still(settings, precision), build.score_fn(settings, scoring)

    def feature(record, name="float32"):
        features = net.feature_fn(model.variables, frames.images(record))
        return stored.decode(stored.encode(features, name))

    def score(key, record, name="float32"):
        _, target = frames.frames(record)
        if pseudo_labels:
            target = net.task_fn(None, feature(record, name))
        return float(score_fn(net.task_fn(None, feature(key, name)), target))

    keys, current = sampling.pair_indices(frames, 3, 0, 19, 5).T
    exact = np.array([score(k, i) for k, i in zip(keys, current)])
    own = np.array([score(i, i) for i in current])
    assert reward == pytest.approx((own - exact).mean(), abs=1e-5)
    names = ["bfloat16", "uint8"] if architecture == "tiny" else ["bfloat16"]
    assert [loss.format for loss in found] == names
    for loss in found:
        rounded = [score(k, i, loss.format) for k, i in zip(keys, current)]
        difference = np.array(rounded) - exact
        assert loss.changed == pytest.approx((difference != 0).mean(), abs=0.11)
        assert loss.changed > 0.2
        assert loss.mean == pytest.approx(difference.mean(), abs=1e-5)
        assert loss.mean_size == pytest.approx(np.abs(difference).mean(), abs=1e-5)
        assert loss.largest == pytest.approx(np.abs(difference).max(), abs=1e-5)
