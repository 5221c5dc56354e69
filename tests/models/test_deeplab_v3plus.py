import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import deeplab_v3plus, parameters

SMALL = {"aspp_channels": 8, "decoder_channels": 8, "low_level_channels": 4}


def _shapes(network):
    images = jax.ShapeDtypeStruct((1, 33, 33, 3), jnp.uint8)
    rng = jax.eval_shape(jax.random.key, 0)
    return jax.eval_shape(network.init, rng, images)


@pytest.mark.parametrize(
    ("backbone", "fields", "total", "scope", "of_backbone"),
    [
        ("xception_65", {}, 41_054_899, "xception_65", 37_867_312),
        ("resnet_v1_50_beta", {}, 26_819_395, "resnet_v1_50", 23_631_808),
        (
            "mobilenet_v2",
            {"aspp_rates": (), "decoder": False},
            2_113_043,
            "MobilenetV2",
            1_811_712,
        ),
    ],
)
def test_networks_have_the_published_size(backbone, fields, total, scope, of_backbone):
    variables = _shapes(deeplab_v3plus.DeepLabV3Plus(19, backbone, **fields))
    assert parameters.count_parameters(variables) == total
    params = variables["params"]
    assert parameters.count_parameters(params[scope]) == of_backbone
    if "decoder" in params:
        assert parameters.count_parameters(params["aspp"]) == 3_019_776
        assert parameters.count_parameters(params["decoder"]) == 162_928


def test_plain_convolutions_have_the_names_of_the_source():
    network = deeplab_v3plus.DeepLabV3Plus(
        backbone="resnet_v1_50", aspp_separable=False, decoder_separable=False, **SMALL
    )
    params = _shapes(network)["params"]
    assert params["resnet_v1_50"]["conv1"]["kernel"].shape == (7, 7, 3, 64)
    assert params["aspp"]["aspp3"]["kernel"].shape == (3, 3, 2048, 8)
    decoder = params["decoder"]["decoder_conv0"]
    assert decoder["decoder_conv0_1"]["kernel"].shape == (3, 3, 12, 8)
    assert decoder["decoder_conv0_2"]["kernel"].shape == (3, 3, 8, 8)


@pytest.mark.parametrize(
    ("backbone", "black"),
    [
        ("mobilenet_v2", (-1, -1, -1)),
        ("xception_65", (-1, -1, -1)),
        ("resnet_v1_50_beta", (-1, -1, -1)),
        ("resnet_v1_50", (-123.15, -115.90, -103.06)),
    ],
)
def test_images_are_prepared_as_the_backbone_learnt_them(backbone, black):
    network = deeplab_v3plus.DeepLabV3Plus(backbone=backbone)
    prepare = lambda x: network.apply({}, x, method=network.prepare)
    images = np.zeros((1, 2, 2, 3), np.uint8)
    np.testing.assert_allclose(prepare(images)[0, 0, 0], black, rtol=1e-6)
    white = prepare(images + np.uint8(255))[0, 0, 0]
    range_ = 255 if backbone == "resnet_v1_50" else 2
    np.testing.assert_allclose(white - np.asarray(black), range_, rtol=1e-5)


def test_narrow_networks_of_the_source_round_to_whole_channels():
    fields = {"aspp_rates": (), "decoder": False, "width": 0.5}
    kernels = []
    for divisor in (1, 8):
        network = deeplab_v3plus.DeepLabV3Plus(width_divisor=divisor, **fields)
        blocks = _shapes(network)["params"]["MobilenetV2"]
        shapes = [blocks["expanded_conv_1"][n] for n in ("expand", "project")]
        kernels.append([x["kernel"].shape[2:] for x in shapes])
    assert kernels == [[(8, 48), (48, 12)], [(8, 48), (48, 16)]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backbone": "xception_99"}, "expected one of: mobilenet_v2, resnet_v1_50"),
        ({"multi_grid": (1, 2, 4)}, "MobileNet has none"),
        ({"backbone": "xception_65", "multi_grid": (1, 2)}, "expected three numbers"),
        ({"backbone": "xception_65", "width": 0.5}, "expected 1 for xception_65"),
        ({"output_stride": 12}, "output stride 12"),
    ],
)
def test_settings_without_meaning_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        _shapes(deeplab_v3plus.DeepLabV3Plus(**fields))
