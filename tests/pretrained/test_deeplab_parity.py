"""Published DeepLabs against what TensorFlow computed with them (tensorflow/models)."""

import re

import jax
import numpy as np
import pytest

from jaxseg import build
from jaxseg.models import multiscale
from tests.pretrained import parity

CASES = (  # and the format of the checkpoint; the large ones take TensorFlow's long
    ("deeplab_mobilenetv2", "deeplab-mobilenetv2", "tf"),
    ("deeplab_mobilenetv2_decoder", "deeplab-mobilenetv2-decoder", "tf"),
    ("deeplab_resnet50_plain", "deeplab-resnet50", "safetensors"),
    ("deeplab_xception65", "deeplab-xception65", "safetensors"),
)


@pytest.fixture(autouse=True)
def discard():
    """Keep no programs for other tests: none has these, and writing them takes long."""
    option = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, option)
    jax.config.update(option, 1e9)
    yield
    jax.config.update(option, before)


@pytest.mark.parametrize(("name", "model", "form"), CASES, ids=lambda x: x)
def test_every_output_is_that_of_the_source(name, model, form, shared, tmp_path):
    case = parity.open_case(shared, name)
    classes = case.manifest["config"]["num_classes"]
    model, report = parity.converted(case, model, tmp_path, form, classes)
    assert report.skipped == ("global_step",) and not report.fresh
    parity.assert_same(case, _outputs(case, model))


def _outputs(case, model):
    """Return all arrays that the manifest names."""
    networks, found = {}, {}
    for run, how in case.manifest["runs"].items():
        stride = how.get("os", 16)
        if stride not in networks:
            networks[stride] = _network(case, model, stride)
        image = case.inputs[how["input"]][None].astype(np.float32)
        if how.get("mode") == "multi":
            scales, flip = how["scales"], how.get("flip", False)
            mean = multiscale.probabilities(
                lambda x, fn=networks[stride]: fn(x)[0], image, scales, flip
            )
            found[f"{run}/mean_prob"] = mean
        else:
            logits, inner = networks[stride](image)
            mean = multiscale.probabilities(lambda _, x=logits: x, image)
            found |= {f"{run}/{key}": x for key, x in inner.items()}
            found |= {f"{run}/logits": logits, f"{run}/prob": mean}
        found[f"{run}/labels"] = mean.argmax(-1).astype(np.uint8)
    return found


def _network(case, model, stride):
    """Return images -> logits, tensors inside; compiled once for a size."""
    settings = {"segmenter": model.settings["segmenter"] | {"output_stride": stride}}
    network = build.segmenter_net(settings)
    modules = {
        key.split("/")[1]: _module(output["what"].removeprefix("tensor "))
        for key, output in case.manifest["outputs"].items()
        if output["what"].startswith("tensor ")
    }

    def wanted(module, method):
        method = "prepare" if method == "prepare" else ""
        return "/".join([*module.path, method]).strip("/") in modules.values()

    @jax.jit
    def run(variables, images):
        logits, state = network.apply(
            variables, images, capture_intermediates=wanted, mutable="intermediates"
        )
        inner = state["intermediates"]
        return logits, {key: _found(inner, path) for key, path in modules.items()}

    return lambda images: run(model.variables["segmenter"], images)


def _module(tensor):
    """Return which module of ours puts out a tensor of theirs."""
    if tensor.startswith("sub"):
        return "prepare"
    name = re.sub(
        "(/Relu|/add|/output|_output|/BatchNorm/FusedBatchNormV3)$", "", tensor
    )
    pyramid = re.match("image_pooling|aspp|concat_projection", name)
    return f"aspp/{name}" if pyramid else name


def _found(intermediates, path):
    for name in path.split("/"):
        intermediates = intermediates[name]
    if path != "prepare":
        intermediates = intermediates["__call__"]
    (output,) = intermediates
    return output[0] if isinstance(output, tuple) else output
