"""Training where networks are computed in bfloat16."""

import pytest

from jaxseg import build, model_file
from jaxseg.errors import UserError
from jaxseg.evaluation import tables
from jaxseg.learning import episodes, stages
from jaxseg.runtime import config
from tests import test_build


def test_memory_for_deviations_holds_twice_as_many_in_half_the_size():
    given, shape = {"policy": {"kept_gib": 2**-10}}, 1
    for side in build.deviation_shape(test_build.SETTINGS):
        shape *= side
    for precision, size in (("float32", 4), ("bfloat16", 2)):
        how = episodes._sharing(given, test_build.SETTINGS, precision)
        assert how.kept == 2**20 // (size * shape)


def test_tables_of_two_precisions_have_two_names():
    model = model_file.Model(test_build.SETTINGS, test_build.variables())
    names = [tables.digest(model, precision=p) for p in ("float32", "bfloat16")]
    assert tables.digest(model) == names[0] != names[1]


@pytest.mark.parametrize("stage", ["segmenter", "flow", "policy"])
def test_an_unknown_precision_is_refused_before_the_run_folder(stage, tmp_path):
    given = config.load_config(
        f"configs/{stage}.py:smoke", ["--config.runtime.precision=half"], packaged=True
    )
    with pytest.raises(UserError, match="'half'.*change --config.runtime.precision"):
        stages.train(config.to_dict(given), tmp_path / "run")
    assert not (tmp_path / "run").exists()
