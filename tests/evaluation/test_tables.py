import numpy as np
import pytest

from jaxseg import dynamic
from jaxseg.data import index
from jaxseg.errors import UserError
from jaxseg.evaluation import arrays, tables
from jaxseg.learning import episodes


def table():
    return dynamic.PairTable(np.ones((3, 2), np.float16), np.ones(3), np.arange(3.0))


def test_data_digest_names_the_frames_of_a_folder(tmp_path):
    for name, number in (("a", 3), ("b", 3), ("c", 4)):
        (tmp_path / name).mkdir()
        labelled = np.ones(number, bool)
        videos = [index.Video("001", 0, np.arange(1, number + 1), labelled)]
        index.write(tmp_path / name, "set", {"A": videos}, {}, {})
    a, b, c = (tables.data_digest(tmp_path / name) for name in "abc")
    assert a == b != c and len(a) == 16


def test_data_digest_says_how_to_prepare(tmp_path):
    for folder, found in (("nowhere", "no such folder"), (".", "no index.json in it")):
        with pytest.raises(UserError, match=f"{found}.*jaxseg dataset prepare"):
            tables.data_digest(tmp_path / folder)


def test_a_table_on_disk_is_not_computed_again(tmp_path):
    path = tmp_path / "t.npz"
    arrays.write(path, table()._asdict())
    seen = []
    found = tables.clip_table(None, None, path, progress=seen.append)
    np.testing.assert_array_equal(found.key_scores, [0.0, 1.0, 2.0])
    assert found.deviations.dtype == np.float16 and seen == [3]


def test_tables_lie_beside_the_model_of_the_flow_network(tmp_path, monkeypatch):
    """In the run folder, or in the folder of a model file."""
    (tmp_path / "run").mkdir()
    (tmp_path / "model.safetensors").write_bytes(b"")
    places = []

    def clip_table(model, clip, path, **options):
        places.append(path)
        return table()

    monkeypatch.setattr(tables, "clip_table", clip_table)
    monkeypatch.setattr(tables, "digest", lambda *_, **__: "name")
    monkeypatch.setattr(tables, "data_digest", lambda folder: "")
    run = type("Run", (), {"start": 0, "length": 3})
    frames = type("Frames", (), {"split": "B", "runs": [run]})
    for flow_run in ("run", "model.safetensors"):
        config = {
            "flow_run": str(tmp_path / flow_run),
            "data": {"prepared": "", "features": "computed"},
            "policy": {"episode_length": 3, "pool": 1},
        }
        episodes._pool(config, None, frames, None, "float32")
    assert [path.parent for path in places] == [
        tmp_path / "run" / "tables" / "name",
        tmp_path / "tables" / "name",
    ]
