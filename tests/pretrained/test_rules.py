from pathlib import Path

import jax
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.ops import convolution
from jaxseg.pretrained import deeplab, rules
from jaxseg.pretrained.readers import entries

TABLE = rules.Table(
    rules=(
        rules.Rule(r"net/(conv\d)/weights", r"params/\1/kernel"),
        rules.Rule(r"net/(conv\d)/biases", r"params/\1/bias"),
    ),
    skips=(
        rules.Skip("global_step", "a counter"),
        rules.Skip(".*/offset", "never trained", zero=True),
    ),
)


def checkpoint(**arrays):
    found = {
        name.replace("__", "/"): entries.Entry(x.shape, x.dtype, lambda x=x: x)
        for name, x in arrays.items()
    }
    return entries.Checkpoint("test", Path("some.ckpt"), found)


def template(**shapes):
    leaves = {n: jax.ShapeDtypeStruct(s, np.float32) for n, s in shapes.items()}
    return {"params": {"conv1": leaves}}


WEIGHTS = np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2)
BIAS = np.ones(2, np.float64)
FULL = {"net__conv1__weights": WEIGHTS, "net__conv1__biases": BIAS}
SHAPES = {"kernel": (3, 3, 3, 2), "bias": (2,)}


def test_every_leaf_is_filled_and_what_is_left_out_is_named():
    found = rules.convert(
        checkpoint(**FULL, global_step=np.array(7), net__offset=np.zeros(3)),
        TABLE,
        template(**SHAPES),
    )
    np.testing.assert_array_equal(found.variables["params"]["conv1"]["kernel"], WEIGHTS)
    assert found.variables["params"]["conv1"]["bias"].dtype == np.float32
    assert found.skipped == ("global_step", "net/offset")


def test_only_fresh_leaves_may_be_without_a_tensor():
    shapes = template(kernel=(3, 3, 3, 2), bias=(2,))
    arrays = {"net__conv1__weights": WEIGHTS}
    found = rules.convert(checkpoint(**arrays), TABLE, shapes, (r"params/.*/bias",))
    assert found.fresh == ("params/conv1/bias",)
    assert found.variables["params"]["conv1"].keys() == {"kernel"}
    with pytest.raises(UserError, match=r"nothing for params/conv1/bias \[2\]"):
        rules.convert(checkpoint(**arrays), TABLE, shapes, ("bias",))
    found = rules.convert(checkpoint(**FULL), TABLE, shapes, (r"params/.*/bias",))
    assert not found.fresh


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net__conv1__biases": None}, r"nothing for params/conv1/bias \[2\]"),
        ({"net__conv2__weights": WEIGHTS}, r"no place for net/conv2/weights \[3, 3, 3"),
        ({"net__offset": np.ones(3)}, r"no place for net/offset \[3\]"),
        ({"net__conv1__biases": np.ones(3)}, r"misfit: .*bias from .* \[3\] expected"),
        ({"net__conv1__biases": np.ones(2, int)}, "int64 expected float32"),
        ({"strange": np.ones(1)}, "no place for strange"),
    ],
)
def test_a_mismatch_prints_both_sides(changes, message):
    arrays = {name: x for name, x in (FULL | changes).items() if x is not None}
    with pytest.raises(UserError, match=message) as error:
        rules.convert(checkpoint(**arrays), TABLE, template(**SHAPES))
    assert "some.ckpt" in str(error.value) and "\n" not in str(error.value)


def test_one_leaf_from_two_tensors_is_refused():
    table = rules.Table((rules.Rule("a|b", "params/conv1/bias"),))
    with pytest.raises(UserError, match="params/conv1/bias from both a and b"):
        rules.convert(checkpoint(a=BIAS, b=BIAS), table, template(bias=(2,)))


def test_steps_against_their_definition():
    rng = np.random.default_rng(0)
    theirs = rng.normal(size=(4, 3, 5, 6))  # O, I, kh, kw
    ours = rules.STEPS["conv"](theirs)
    assert ours[1, 2, 0, 3] == theirs[3, 0, 1, 2]
    depthwise = rng.normal(size=(3, 3, 7, 1))
    assert rules.STEPS["depthwise"](depthwise)[1, 2, 0, 5] == depthwise[1, 2, 5, 0]
    pair = rng.normal(size=(7, 7, 6, 4))
    flipped = rules.STEPS["bgr"](pair)
    np.testing.assert_array_equal(
        flipped[:, :, [0, 1, 2, 3, 4, 5]], pair[:, :, [2, 1, 0, 5, 4, 3]]
    )


def test_a_dense_layer_is_a_convolution_of_the_whole_map():
    rng = np.random.default_rng(1)
    dense = rng.normal(size=(5, 4 * 7 * 7)).astype(np.float32)
    maps = rng.normal(size=(1, 7, 7, 4)).astype(np.float32)
    expected = dense @ maps[0].transpose(2, 0, 1).ravel()  # torch flattens C, H, W
    kernel = rules.STEPS["dense_to_conv7"](dense)
    found = convolution.conv(maps, kernel, padding="VALID")
    np.testing.assert_allclose(found[0, 0, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "names",
    [
        ("{}/Momentum", "global_step"),
        ("{}/Adam", "{}/Adam_1", "beta1_power", "beta2_power"),
        ("{}/RMSProp", "{}/RMSProp_1", "{}/ExponentialMovingAverage"),
        ("resnet_v1_50/logits/weights", "resnet_v1_50/mean_rgb"),
    ],
)
def test_what_a_training_of_deeplab_leaves_is_left_out_by_name(names):
    name = "resnet_v1_50/conv1/weights"
    others = [other.format(name) for other in names]
    arrays = {name: WEIGHTS} | {other: np.ones(3) for other in others}
    shapes = {"segmenter": {"params": {"resnet_v1_50": {"conv1": {"kernel": WEIGHTS}}}}}
    found = rules.convert(checkpoint(**arrays), deeplab.TABLE, shapes)
    assert found.skipped == tuple(others)


def test_an_unknown_memory_of_a_deeplab_is_refused():
    name = "resnet_v1_50/conv1/weights"
    arrays = {name: WEIGHTS, f"{name}/Ftrl": WEIGHTS}
    shapes = {"segmenter": {"params": {"resnet_v1_50": {"conv1": {"kernel": WEIGHTS}}}}}
    with pytest.raises(UserError, match="no place for .*/Ftrl"):
        rules.convert(checkpoint(**arrays), deeplab.TABLE, shapes)
