"""Claims about configuration files and overrides."""

import json

import pytest

from jaxseg.errors import UserError
from jaxseg.runtime import config

FILE = """
import ml_collections
import numpy as np
from configs import common

def get_config(arg="tiny"):
    if arg not in ("tiny", "full"):
        raise ValueError(f"unknown argument {arg!r}; expected tiny or full")
    config = ml_collections.ConfigDict()
    config.arg = arg
    config.seed = common.SEED
    config.policy = ml_collections.ConfigDict(
        dict(eta=0.04, hidden=(8, 4), causal=False, name="x", lr=np.float64(0.5))
    )
    config.limit = ml_collections.config_dict.placeholder(int)
    return config
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "x.py").write_text(FILE)
    (tmp_path / "configs" / "common.py").write_text("SEED = 3\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_argument_and_typed_overrides_arrive(folder):
    overrides = [
        "--config.policy.eta=1",
        "--config.policy.hidden",
        "(16, 8)",
        "--config.policy.causal",
        "--config.seed",
        "-1",
        "--config.limit=7",
    ]
    loaded = config.load_config("configs/x.py:full", overrides)
    assert config.to_dict(loaded) == {
        "arg": "full",
        "seed": -1,
        "limit": 7,
        "policy": {
            "eta": 1.0,
            "hidden": [16, 8],
            "causal": True,
            "name": "x",
            "lr": 0.5,
        },
    }
    assert isinstance(loaded.policy.eta, float)
    json.dumps(config.to_dict(loaded))


def test_loading_twice_gives_independent_values(folder):
    config.load_config("configs/x.py", ["--config.seed=9"])
    assert config.load_config("configs/x.py").seed == 3


def test_the_result_is_locked(folder):
    with pytest.raises(AttributeError):
        config.load_config("configs/x.py").policy.etta = 1


@pytest.mark.parametrize(
    "override, said",
    [
        (
            "--config.policy.et=0.1",
            'has no field config.policy.et; .*Did you mean "eta"',
        ),
        (
            "--config.polcy.eta=0.1",
            'has no field config.polcy.eta; .*Did you mean "policy"',
        ),
        ("--config.policy.eta=abc", "policy.eta=abc: could not convert.*'abc'"),
        ("--config.seed=1.5", r"seed=1\.5: invalid literal for int"),
        ("--config.policy=3", "policy=3.*not a dict"),
        ("--config.seed.x=1", "has no field config.seed.x; .*look into the file"),
        ("stray", "found stray; expected --config"),
        ("--other=1", "other"),
    ],
)
def test_a_bad_override_is_one_line_that_names_it(folder, override, said):
    with pytest.raises(UserError, match=said) as error:
        config.load_config("configs/x.py", [override])
    assert "\n" not in str(error.value)


def test_what_a_file_says_about_its_argument_is_passed_on(folder):
    with pytest.raises(UserError, match="x.py: unknown argument 'big'; expected tiny"):
        config.load_config("configs/x.py:big")


def test_a_missing_file_lists_those_that_exist(folder):
    with pytest.raises(UserError, match="no configuration file configs/y.py") as error:
        config.load_config("configs/y.py")
    assert "configs/x.py" in str(error.value)
    assert "common.py" not in str(error.value), "it is not a configuration"
    with pytest.raises(UserError, match="has no get_config"):
        config.load_config("configs/common.py")


def test_the_files_that_come_with_jaxseg_are_found_from_anywhere(tmp_path, monkeypatch):
    packaged = tmp_path / "site" / "jaxseg"
    (packaged / "_configs").mkdir(parents=True)
    (packaged / "_configs" / "x.py").write_text(FILE)
    (packaged / "_configs" / "common.py").write_text("SEED = 5\n")
    monkeypatch.setattr(config, "_PACKAGE", packaged)
    monkeypatch.chdir(tmp_path)
    assert config.load_config("configs/x.py").seed == 5
    checkout = tmp_path / "site" / "configs"
    checkout.mkdir()
    (checkout / "x.py").write_text(FILE)
    (checkout / "common.py").write_text("SEED = 6\n")
    assert config.load_config("configs/x.py").seed == 5, "not a checkout"
    (tmp_path / "site" / "pyproject.toml").write_text("")
    assert config.load_config("configs/x.py").seed == 6


def test_common_is_the_one_beside_the_file(folder):
    (folder / "other").mkdir()
    (folder / "other" / "x.py").write_text(FILE)
    assert config.load_config("other/x.py").seed == 3
    (folder / "other" / "common.py").write_text("SEED = 8\n")
    assert config.load_config("other/x.py").seed == 8


def test_the_files_that_come_with_jaxseg_can_be_asked_for_alone(folder, monkeypatch):
    packaged = folder / "site" / "jaxseg"
    (packaged / "_configs").mkdir(parents=True)
    (packaged / "_configs" / "x.py").write_text(FILE)
    (packaged / "_configs" / "common.py").write_text("SEED = 5\n")
    (folder / "configs" / "y.py").write_text(FILE)
    monkeypatch.setattr(config, "_PACKAGE", packaged)
    assert config.load_config("configs/x.py").seed == 3
    assert config.load_config("configs/x.py", packaged=True).seed == 5
    with pytest.raises(UserError, match=r"expected one of configs/x\.py;"):
        config.load_config("configs/y.py", packaged=True)


def test_pairs_are_joined_and_flags_left_alone():
    given = [
        "--config",
        "a.py",
        "--config.x",
        "1",
        "--config.y=2",
        "--config.z",
        "--no",
    ]
    want = ["--config=a.py", "--config.x=1", "--config.y=2", "--config.z", "--no"]
    assert config.join_pairs(given) == want


def test_the_last_word_on_a_field_counts_for_tuples_too(folder):
    said = ["--config.policy.hidden=(16, 8)", "--config.seed=1", "--config.seed=2"]
    loaded = config.load_config("configs/x.py", [*said, "--config.policy.hidden=(2,)"])
    assert loaded.policy.hidden == (2,) and loaded.seed == 2
