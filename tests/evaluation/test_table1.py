"""What Table 1 refuses, before it makes a run folder."""

import numpy as np
import pytest

from jaxseg import model_file
from jaxseg.data import index
from jaxseg.errors import UserError
from jaxseg.evaluation import table1
from jaxseg.runtime import config


def resolved(*changes):
    overrides = [f"--config.{change}" for change in changes]
    return config.to_dict(
        config.load_config("configs/table1.py:smoke", overrides, packaged=True)
    )


@pytest.fixture
def segmenter():
    loaded = config.load_config("configs/segmenter.py:smoke", packaged=True)
    return config.to_dict(loaded)["segmenter"]


@pytest.fixture
def refuses(tmp_path, monkeypatch):
    """Return a function that expects a message: changes, settings of N, message."""

    def check(changes, group, message):
        model = model_file.Model({"segmenter": group}, {"segmenter": {}})
        monkeypatch.setattr(model_file, "load", lambda *arguments: model)
        with pytest.raises(UserError, match=message) as error:
            table1.evaluate(resolved("flow_run=", *changes), tmp_path / "run")
        assert "\n" not in str(error.value)
        assert not (tmp_path / "run").exists()

    return check


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("segmenters=()", "segmenters is empty; expected run folders"),
        ("segmenters=(1,)", "segmenters is .1.; expected run folders"),
        ("scales=()", r"scales is \[\]; expected lists of numbers above 0"),
        ("scales=(1.25,1.75)", r"scales is \[1.25, 1.75\]; expected lists"),
        ("scales=((1.0,),())", "expected lists of numbers above 0"),
        ("scales=((0.0,),)", "expected lists of numbers above 0"),
        ("scales=((1.0,-1.0),)", "expected lists of numbers above 0"),
        ("scales=((1e999,),)", "expected lists of numbers above 0"),
        ("scales=(('1.0',),)", "expected lists of numbers above 0"),
        ("scales=((True,),)", "expected lists of numbers above 0"),
        ("max_gap=0", "max_gap is 0; expected 1 or more"),
        ("pairs=0", "pairs is 0; expected 1 or more"),
        ("seed=-1", "seed is -1; expected 0 or more"),
        ("input_size=-1", "input_size is -1; expected 0 or more"),
        ("output_stride=-8", "output_stride is -8; expected 0 or more"),
        ("score_classes=some", "score_classes is 'some'; expected present or"),
    ],
)
def test_unusable_values(refuses, change, message):
    refuses([change], {}, message)


def test_classes_that_the_data_do_not_have(refuses, segmenter):
    message = "tells 21 classes apart; expected the 5 of the data, background, skin"
    refuses([], segmenter | {"num_classes": 21}, message)


def test_output_strides_that_a_network_does_not_have(refuses, segmenter):
    fcn = {"architecture": "fcn", "num_classes": 5, "input_size": 65}
    refuses(["output_stride=8"], fcn, "holds fcn, which has none; expected 0")
    refuses(["output_stride=7"], segmenter, "cannot have output_stride 7")


def test_data_that_are_not_there(refuses, segmenter, tmp_path):
    missing, bare, other = (tmp_path / name for name in ("missing", "bare", "other"))
    bare.mkdir()
    other.mkdir()
    videos = [index.Video("001", 0, np.arange(1, 3), np.ones(2, bool))]
    index.write(other, "set", {"A": videos}, {}, {})
    prepare = "run `jaxseg dataset prepare FOLDER"
    refuses([f"data.prepared={missing}"], segmenter, f"no such folder.*{prepare}")
    refuses([f"data.prepared={bare}"], segmenter, f"no index.json in it.*{prepare}")
    refuses([f"data.prepared={other}"], segmenter, "no split 'C'; expected one of A")
