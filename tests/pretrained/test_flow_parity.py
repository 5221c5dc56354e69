"""FlowNet2-S against what NVIDIA/flownet2-pytorch computed with the same weights."""

import jax

from jaxseg import build
from jaxseg.models import flownet, layers
from tests.pretrained import parity

ACTIVATED = ("conv1", "conv3_1", "conv5_1", "conv6", "conv6_1", "deconv2")
LEVELS = (6, 5, 4, 3, 2)


def test_every_output_is_that_of_the_source(shared, tmp_path):
    case = parity.open_case(shared, "flownet2s")
    model, report = parity.converted(case, "flownet2-S", tmp_path)
    assert report.parameters == 38_676_506 and not report.skipped
    network = build.flow_net(model.settings)
    wanted = (*ACTIVATED, *(f"predict_flow{level}" for level in LEVELS))

    @jax.jit
    def run(variables, current, key):
        output, state = network.apply(
            variables,
            current,
            key,
            capture_intermediates=lambda module, _: module.name in wanted,
            mutable="intermediates",
        )
        inner = {k: v["__call__"][0] for k, v in state["intermediates"].items()}
        found = {name: layers.leaky_relu(inner[name]) for name in ACTIVATED}
        found |= {f"flow{level}": inner[f"predict_flow{level}"] for level in LEVELS}
        found["net_input"] = network.prepare(current, key)
        found["flow"] = flownet.full_flow(output.flow, current.shape[1:3])
        return found

    outputs = {}
    for pair in "ab":
        frames = (case.inputs[f"pair_{pair}_{place}"][None] for place in (0, 1))
        found = run(model.variables["flow"], *frames)
        outputs |= {f"{pair}/{key}": value for key, value in found.items()}
    parity.assert_same(case, outputs)
