"""Claims about features on disk: those of N, whole, keyed, and shared by processes."""

import subprocess
import sys
import threading
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import build, dynamic, model_file
from jaxseg.data import index
from jaxseg.errors import UserError
from jaxseg.evaluation import feature_store, features
from jaxseg.models import segmenter
from jaxseg.ops import stored
from jaxseg.runtime import config, files, shards

SIZE, RUNS = 33, (20, 1, 41)
LENGTHS = [18, 2, 1, 18, 18, 5]  # of shards of at most 18 frames


class Frames:
    """Noise with labels, in runs as those of a `FrameSource`."""

    split = "B"

    def __init__(self, seed=0):
        starts = np.cumsum((0, *RUNS[:-1]))
        self.runs = [index.Run(0, int(s), n) for s, n in zip(starts, RUNS, strict=True)]
        rng = np.random.default_rng(seed)
        self.images = rng.integers(0, 256, (sum(RUNS), SIZE, SIZE, 3), np.uint8)
        self.labels = rng.integers(0, 5, (sum(RUNS), SIZE, SIZE)).astype(np.uint8)
        self.asked = []

    def frames(self, records):
        self.asked += list(records)
        return self.images[records], self.labels[records]

    def clip(self, start, length):
        return self.images[start : start + length], self.labels[start : start + length]


class Tiny(segmenter.Segmenter):
    """One convolution; probabilities of all sizes."""

    num_classes: int = 5

    @nn.compact
    def __call__(self, images, train=False):
        x = images.astype(jnp.float32) / 255.0 - 0.5
        conv = nn.Conv(
            self.num_classes, (5, 5), strides=4, dtype=self.dtype, name="logits"
        )
        return 9.0 * conv(x).astype(jnp.float32)


class TinyLogits(Tiny):
    POSTERIOR = False

    def features(self, images):
        return self(images)


def make(architecture):
    group = {"architecture": architecture, "num_classes": 5, "input_size": SIZE}
    settings = {"segmenter": group}
    variables = {"segmenter": build.init(settings, "segmenter", 0)}
    return model_file.Model(settings, variables)


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(build.SEGMENTERS, "tiny", Tiny)
        patch.setitem(build.SEGMENTERS, "tiny_logits", TinyLogits)
        yield


@pytest.fixture(scope="module")
def model(tiny):
    return make("tiny")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(feature_store, "_SHARD_FRAMES", 18)


def store(folder, model, frames=None, format="float32", data="data", **options):
    frames = frames or Frames()
    return feature_store.Store(Path(folder), model, frames, format, data, **options)


@pytest.fixture(scope="module")
def expected(model):
    """Features and key scores of all frames of a run, as `dynamic.prepare` has them."""
    frames = Frames()
    framework = dynamic.Framework(
        build.feature_fn(model.settings),
        build.task_fn(model.settings),
        *(lambda *_: 0,) * 4,
    )
    images, labels = frames.clip(21, 41)
    prepare = jax.jit(
        lambda clip: dynamic.prepare(
            framework,
            model.variables,
            clip,
            score_fn=build.score_fn(model.settings, build.Scoring(classes="all")),
        )
    )
    return prepare(dynamic.Clip(images, labels))


ALL = build.Scoring(classes="all")


@pytest.mark.parametrize(("start", "length"), [(0, 41), (17, 2), (3, 33), (40, 1)])
def test_stored_is_computed_bit_for_bit_across_shards(
    tmp_path, model, expected, start, length
):
    frames = Frames()
    opened = store(tmp_path, model, frames)
    for _ in range(2):  # computed, then read
        clip = opened.clip(21 + start, length, ALL)
        rows = slice(start, start + length)
        np.testing.assert_array_equal(clip.features, expected.features[rows])
        np.testing.assert_array_equal(clip.key_scores, expected.key_scores[rows])
        np.testing.assert_array_equal(clip.labels, expected.targets[rows])
        asked, frames.asked = frames.asked, []
    assert not asked and np.ptp(expected.key_scores) > 1e-3


def test_only_what_a_clip_touches_is_computed(tmp_path, model):
    opened = store(tmp_path, model)
    opened.clip(2, 5)
    opened.clip(20, 1)
    assert opened.missing() == sum(RUNS) - 18 - 1
    assert len(list(opened.folder.iterdir())) == 4  # features and scores of two shards


@pytest.mark.parametrize("format", ["bfloat16", "uint8"])
def test_scores_come_from_features_before_they_are_rounded(
    tmp_path, model, expected, format
):
    clip = store(tmp_path, model, format=format).clip(21, 41, ALL)
    assert clip.features.dtype == stored.DTYPES[format]
    np.testing.assert_array_equal(clip.key_scores, expected.key_scores)
    error = np.abs(stored.decode(clip.features) - expected.features)
    assert 1e-3 < error.max() < 3e-3


def test_readings_of_the_score_have_their_own_columns(tmp_path, model):
    opened = store(tmp_path, model)
    found = [
        opened.clip(0, 20, build.Scoring(classes=name)).key_scores
        for name in ("present", "foreground", "all")
    ]
    assert not np.array_equal(found[0], found[1])
    pseudo = opened.clip(0, 20, build.Scoring(pseudo_labels=True))
    assert pseudo.labels is None and pseudo.key_scores is None


def test_a_resumed_store_is_the_uninterrupted_one(tmp_path, model, monkeypatch):
    whole, parts = store(tmp_path / "a", model), store(tmp_path / "b", model)
    whole.fill()
    real, written = shards.write, []

    def fail_in_the_middle(path, array):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        real(path, array)

    monkeypatch.setattr(shards, "write", fail_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        parts.fill()
    monkeypatch.setattr(shards, "write", real)
    assert parts.missing() == sum(RUNS) - sum(LENGTHS[:2])
    before = {p: p.stat().st_mtime_ns for p in written[:4]}
    done = []
    parts = store(tmp_path / "b", model)
    parts.fill(done.append)
    assert sum(done) == sum(RUNS) and parts.missing() == 0
    assert {p: p.stat().st_mtime_ns for p in written[:4]} == before
    names = sorted(p.name for p in whole.folder.iterdir())
    assert len(names) == 2 * len(LENGTHS)
    assert names == sorted(p.name for p in parts.folder.iterdir())
    for name in names:
        one, two = (s.folder / name for s in (whole, parts))
        assert one.read_bytes() == two.read_bytes()
    on_disk = sum(p.stat().st_size for p in whole.folder.iterdir())
    headers = 132 * len(names)  # .npy's 128 bytes and a checksum
    assert on_disk == whole.bytes_of(sum(RUNS)) + headers


@pytest.mark.parametrize("what", ["features", "scores"])
def test_a_damaged_shard_is_named(tmp_path, model, what):
    opened = store(tmp_path, model)
    opened.fill()
    path = next(opened.folder.glob(f"00000021-18.{what}.npy"))
    data = bytearray(path.read_bytes())
    data[-40] ^= 4
    path.write_bytes(data)
    again = store(tmp_path, model)
    again.clip(0, 20)
    for use in (lambda: again.clip(22, 3), again.fill):
        with pytest.raises(UserError, match=rf"{path} cannot be read.*delete the file"):
            use()
    path.unlink()
    again.fill()
    clips = store(tmp_path, model).clip(21, 41), opened.clip(21, 41)
    np.testing.assert_array_equal(clips[0].features, clips[1].features)


def test_another_network_or_other_data_is_another_store(tmp_path, model):
    other = jax.tree.map(lambda x: x * 1.01, model.variables)
    settings = {"segmenter": model.settings["segmenter"] | {"input_size": 49}}
    stores = [
        store(tmp_path, model),
        store(tmp_path, model, data="other"),
        store(tmp_path, model, format="uint8"),
        store(tmp_path, model, precision="bfloat16"),
        store(tmp_path, model._replace(variables=other)),
        store(tmp_path, model._replace(settings=settings)),
    ]
    assert len({found.folder for found in stores}) == len(stores)
    stores[0].clip(0, 4)
    assert [found.missing() == sum(RUNS) for found in stores] == [False] + 5 * [True]
    # What F and the policy are does not matter.
    more = {"segmenter": model.settings["segmenter"], "flow": {}}
    assert store(tmp_path, model._replace(settings=more)).folder == stores[0].folder


def test_a_shard_that_another_works_on_is_waited_for(tmp_path, model):
    mine, reference = store(tmp_path / "a", model), store(tmp_path / "b", model)
    reference.fill()
    mine.folder.mkdir(parents=True)
    found, done = [], threading.Event()

    def fill():
        mine.fill(found.append)
        done.set()

    with files.claimed(mine.folder / ".00000021.lock") as held:
        assert held
        thread = threading.Thread(target=fill)
        thread.start()
        assert not done.wait(1.0)
        # All but that one are there by then or soon.
        for path in reference.folder.glob("00000021-*"):
            (mine.folder / path.name).write_bytes(path.read_bytes())
    thread.join(60)
    assert done.is_set() and sum(found) == sum(RUNS)


_FILL = """
import sys, time
from pathlib import Path
from tests.evaluation import test_feature_store as tests

tests.feature_store._SHARD_FRAMES = 6
tests.build.SEGMENTERS["tiny"] = tests.Tiny
frames = tests.Frames()
store = tests.store(sys.argv[1], tests.make("tiny"), frames)
program = tests.feature_store._program(store._model.settings, "float32")
program(store._model.variables, frames.images[:16], frames.labels[:16])
real = frames.frames
frames.frames = lambda records: time.sleep(0.1) or real(records)
print("ready", flush=True)
sys.stdin.readline()
store.fill()
print(*frames.asked)
"""


def test_two_processes_share_the_work(tmp_path, model, monkeypatch):
    monkeypatch.setattr(feature_store, "_SHARD_FRAMES", 6)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _FILL, str(tmp_path / "a")],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    asked = [set(map(int, process.communicate()[0].split())) for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert asked[0] and asked[1] and not asked[0] & asked[1]
    assert asked[0] | asked[1] == set(range(sum(RUNS)))
    found, reference = store(tmp_path / "a", model), store(tmp_path / "b", model)
    reference.fill()
    names = sorted(path.name for path in reference.folder.iterdir())
    assert sorted(path.name for path in found.folder.iterdir()) == names
    for name in names:
        one, two = found.folder / name, reference.folder / name
        assert one.read_bytes() == two.read_bytes()


def test_a_process_that_is_killed_leaves_whole_shards_alone(
    tmp_path, model, monkeypatch
):
    monkeypatch.setattr(feature_store, "_SHARD_FRAMES", 6)
    program = _FILL.replace(
        "store.fill()", "store.fill(lambda n: print(n, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        process.stdin.write("go\n")
        process.stdin.flush()
        process.stdout.readline()
        process.kill()
    left = store(tmp_path, model)
    before = {path: path.read_bytes() for path in left.folder.glob("0*.npy")}
    assert len(before) >= 2
    left.fill()  # its locks went with it
    assert left.missing() == 0
    assert all(path.read_bytes() == data for path, data in before.items())


def test_a_place_that_cannot_be_written_is_named(tmp_path, model):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/.*cannot be written \(Not a directory"):
        store(tmp_path / "file", model).clip(0, 4)


def test_too_small_a_disk_is_refused_before_any_work(tmp_path, model, monkeypatch):
    frames = Frames()
    usage = lambda _: type("Usage", (), {"free": 1000})
    monkeypatch.setattr(feature_store.shutil, "disk_usage", usage)
    with pytest.raises(UserError, match="0.0 GiB are free.*features_folder"):
        store(tmp_path, model, frames).fill()
    assert not frames.asked and not list(tmp_path.iterdir())


def test_logits_are_stored_but_not_in_uint8(tmp_path):
    logits = make("tiny_logits")
    with pytest.raises(UserError, match="propagates logits; change --config.data.fea"):
        store(tmp_path, logits, format="uint8")
    exact = store(tmp_path, logits).clip(0, 3)
    rounded = store(tmp_path, logits, format="bfloat16").clip(0, 3)
    assert exact.features.min() < -1
    np.testing.assert_allclose(
        rounded.features.astype(np.float32), exact.features, rtol=2**-8
    )
    np.testing.assert_array_equal(rounded.key_scores, exact.key_scores)


def test_a_config_names_the_format_and_the_place(tmp_path, model):
    found = config.to_dict(config.load_config("configs/policy.py:smoke"))
    found["data"] |= {"prepared": str(tmp_path), "features": "float16"}
    with pytest.raises(
        UserError, match="data.features is 'float16'; expected computed"
    ):
        features.check(found, model.settings)
    videos = [index.Video("001", 0, np.arange(1, 4), np.ones(3, bool))]
    index.write(tmp_path, "set", {"B": videos}, {}, {})
    found["data"]["features"] = "uint8"
    opened = features.open_store(found, model, Frames())
    assert opened.folder.is_relative_to(tmp_path / "features")
    found["runtime"]["features_folder"] = str(tmp_path / "elsewhere")
    moved = features.open_store(found, model, Frames())
    assert moved.folder.is_relative_to(tmp_path / "elsewhere")
    names = {}
    for name in features.FORMATS:
        found["data"]["features"] = name
        names[name] = features.identity(found)
    assert names["computed"] == names["float32"]
    assert len(set(names.values())) == 3
