"""Claims about run folders: one folder, one experiment."""

import json

import pytest

from jaxseg.errors import UserError
from jaxseg.runtime import runs

CONFIG = {"seed": 0, "policy": {"eta": 0.06, "hidden": [4, 2]}, "runtime": {"how": "x"}}


def test_hash_depends_on_values_and_not_on_order():
    one = {"a": 1, "b": {"c": 2.0, "d": [1, 2]}}
    two = {"b": {"d": [1, 2], "c": 2.0}, "a": 1}
    assert runs.config_hash(one) == runs.config_hash(two)
    assert runs.config_hash(one) != runs.config_hash({**one, "a": 2})
    # Pinned: a hash that changes between versions would orphan every run.
    assert runs.config_hash({"a": 1}) == "015abd7f5cc5"


def test_an_opened_run_reads_back_and_opens_again(tmp_path):
    made = runs.open_run(tmp_path / "r", CONFIG, "policy")
    assert runs.read_run(tmp_path / "r") == made
    assert runs.open_run(tmp_path / "r", CONFIG, "policy") == made
    record = json.loads((tmp_path / "r" / "config.json").read_text())
    assert record["stage"] == "policy" and record["config"] == CONFIG
    assert record["versions"]["jax"] and record["versions"]["jaxseg"]


def test_only_the_runtime_and_log_groups_may_change(tmp_path):
    runs.open_run(tmp_path / "r", CONFIG, "policy")
    runs.open_run(tmp_path / "r", {**CONFIG, "runtime": {"how": "y"}}, "policy")
    runs.open_run(tmp_path / "r", {**CONFIG, "log": {"every": 3}}, "policy")
    other = {**CONFIG, "policy": {"eta": 0.1, "hidden": [4, 2]}}
    with pytest.raises(UserError, match=r"policy\.eta: 0\.06 there, 0\.1 now") as error:
        runs.open_run(tmp_path / "r", other, "policy")
    assert "another --run folder" in str(error.value)
    with pytest.raises(UserError, match="stage policy; expected flow"):
        runs.open_run(tmp_path / "r", CONFIG, "flow")


def test_other_inputs_under_the_same_paths_are_named(tmp_path):
    inputs = {"data": "aa", "segmenter": "bb"}
    made = runs.open_run(tmp_path / "r", CONFIG, "flow", inputs)
    assert made.inputs == inputs
    assert runs.open_run(tmp_path / "r", CONFIG, "flow", inputs) == made
    assert runs.open_run(tmp_path / "r", CONFIG, "flow") == made
    with pytest.raises(UserError, match="or value of segmenter; exp") as error:
        runs.open_run(tmp_path / "r", CONFIG, "flow", inputs | {"segmenter": "cc"})
    assert "data" not in str(error.value).replace(str(tmp_path), "")
    with pytest.raises(UserError, match="or value of data, segmenter; exp"):
        runs.open_run(tmp_path / "r", CONFIG, "flow", {})


def test_a_locked_folder_is_new_or_old_and_has_one_user(tmp_path):
    for _ in range(2):
        with runs.locked(tmp_path / "r"):
            runs.open_run(tmp_path / "r", CONFIG, "flow")
            with pytest.raises(UserError, match="another process is working in .*/r;"):
                with runs.locked(tmp_path / "r"):
                    pass
    assert [p.name for p in (tmp_path / "r").iterdir()] == ["config.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; expected a folder"):
        with runs.locked(tmp_path / "file"):
            pass


def test_tuples_and_lists_are_the_same_configuration(tmp_path):
    runs.open_run(tmp_path / "r", {"hidden": [4, 2]}, "policy")
    runs.open_run(tmp_path / "r", {"hidden": (4, 2)}, "policy")


def test_a_folder_with_other_files_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match=r"is not a run but holds thesis\.tex"):
        runs.open_run(tmp_path, CONFIG, "policy")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UserError, match="is a file; expected a folder"):
        runs.open_run(tmp_path / "thesis.tex", CONFIG, "policy")


def test_a_folder_that_is_no_run_or_a_broken_one_is_named(tmp_path):
    with pytest.raises(UserError, match=r"has no config\.json"):
        runs.read_run(tmp_path)
    (tmp_path / "config.json").write_text('{"stage": "pol')
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        runs.open_run(tmp_path, CONFIG, "policy")


def test_done_is_said_last_and_with_a_summary(tmp_path):
    assert not runs.is_done(tmp_path)
    runs.mark_done(tmp_path, {"miou": 0.5})
    assert runs.is_done(tmp_path)
    assert json.loads((tmp_path / "DONE").read_text()) == {"miou": 0.5}
