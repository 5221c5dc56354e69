"""Claims about weights files: exact, self-contained, strict."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.runtime import weights

VARIABLES = {
    "params": {
        "conv": {"kernel": np.arange(12, dtype=np.float32).reshape(3, 4).T},
        "scale": np.float32(2.5),
    },
    "batch_stats": {
        "half": jnp.asarray([1.5, -2.0], jnp.bfloat16),
        "count": np.array([[1, 2], [3, 4]], np.int32),
        "none": np.zeros((0, 3), np.float16),
    },
}


def test_round_trip_is_exact_for_every_type_and_layout(tmp_path):
    weights.save_weights(tmp_path / "sub" / "w.safetensors", VARIABLES, {"net": "N"})
    loaded, metadata = weights.load_weights(tmp_path / "sub" / "w.safetensors")
    assert metadata == {"net": "N"}
    assert jax.tree.structure(loaded) == jax.tree.structure(VARIABLES)
    for got, want in zip(jax.tree.leaves(loaded), jax.tree.leaves(VARIABLES)):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_array_equal(np.asarray(got), np.asarray(want))
    weights.check_like(VARIABLES, loaded)


def test_a_missing_a_cut_and_a_foreign_file_are_named(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(UserError, match="there is no weights file .*w.safetensors"):
        weights.load_weights(path)
    weights.save_weights(path, VARIABLES)
    whole = path.read_bytes()
    for broken in (whole[:-1], whole[:20], b"", b"PK\x03\x04 a zip file, surely"):
        path.write_bytes(broken)
        with pytest.raises(UserError, match="not a whole safetensors file") as error:
            weights.load_weights(path)
        assert "\n" not in str(error.value)


def test_weights_of_another_network_are_refused_with_both_sides(tmp_path):
    template = {
        "params": {"a": jax.ShapeDtypeStruct((2, 3), jnp.float32), "b": np.ones(1)}
    }
    loaded = {"params": {"a": np.ones((3, 2), np.float32), "c": np.ones(4)}}
    with pytest.raises(UserError) as error:
        weights.check_like(template, loaded, "n.safetensors")
    message = str(error.value)
    assert "n.safetensors" in message
    assert "missing params/b float64[1]" in message
    assert "unexpected params/c float64[4]" in message
    assert "params/a found float32[3, 2] expected float32[2, 3]" in message


def test_a_name_with_the_separator_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'a/b'"):
        weights.save_weights(tmp_path / "w", {"a/b": np.ones(1)})
