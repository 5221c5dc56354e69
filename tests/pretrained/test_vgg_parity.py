"""VGG-16 against what torchvision computed with the same weights."""

import jax

from jaxseg import build
from tests.pretrained import parity


def test_every_output_is_that_of_the_source(shared, tmp_path):
    case = parity.open_case(shared, "vgg16_torchvision")
    model, report = parity.converted(case, "vgg16", tmp_path)
    assert report.parameters == 138_357_544 and not report.skipped
    network = build.segmenter_net(model.settings)

    @jax.jit
    def run(variables, images):
        logits, state = network.apply(
            variables,
            images,
            capture_intermediates=lambda module, _: module.name in inner,
            mutable="intermediates",
        )
        found = {name: state["intermediates"][name]["__call__"][0] for name in inner}
        maps = found.pop("vgg16")
        return maps | jax.tree.map(jax.nn.relu, found) | {"logits": logits}

    inner = ("vgg16", "fc6", "fc7")
    outputs = run(model.variables["segmenter"], case.inputs["image"][None])
    for name in ("fc6", "fc7", "logits"):
        outputs[name] = outputs[name][:, 0, 0]
    parity.assert_same(case, outputs)
