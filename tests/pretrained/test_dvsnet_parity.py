"""DVSNet's three networks and its propagation against what its own code computed."""

import jax
import numpy as np

from jaxseg import build
from jaxseg.models import flownet, vgg
from jaxseg.ops import resize
from tests.pretrained import parity


def _regions(frame, overlap):
    """Cut the four quarters of a frame, each with its neighbours' next pixels."""
    return np.stack([frame[place] for place in _places(*frame.shape[:2], overlap)])


def _places(height, width, overlap):
    rows = slice(0, height // 2 + overlap), slice(height // 2 - overlap, height)
    columns = slice(0, width // 2 + overlap), slice(width // 2 - overlap, width)
    return [(row, column) for row in rows for column in columns]


def _merged(scores, size, overlap):
    """Return label map and highest score of a frame from scores of its regions.

    A later region wins where its score is higher. The source forgets to keep the
    score, though not the label, of the last one where it meets the region above.
    """
    label = np.zeros(size, np.uint8)
    best = np.full(size, -np.inf, np.float32)
    for index, place in enumerate(_places(*size, overlap)):
        high = scores[index].max(-1)
        wins = high > best[place]
        label[place] = np.where(wins, scores[index].argmax(-1), label[place])
        if index == 3:
            wins[: 2 * overlap, 2 * overlap :] = False
        best[place] = np.where(wins, high, best[place])
    return label[None, :, :, None], best[None, :, :, None]


def test_every_output_is_that_of_the_source(shared, tmp_path):
    case = parity.open_case(shared, "dvsnet")
    model, report = parity.converted(case, "dvsnet", tmp_path)
    assert report.parameters == 67_267_672 and not report.skipped
    size, overlap = case.manifest["config"]["input_size"], 32
    regions = [
        _regions(case.inputs[f"frame_{i}"].astype(np.float32), overlap) for i in (0, 1)
    ]
    segmenter = build.segmenter_net(model.settings)

    @jax.jit
    def segment(variables, images):
        maps = segmenter.apply(variables, images, method="endpoints")
        return maps, resize.resize_bilinear(maps["fc_out"], images.shape[1:3], "legacy")

    @jax.jit
    def compare(variables, current, key, features):
        half = tuple(side // 2 for side in current.shape[1:3])
        views = [resize.resize_bilinear(x, half, "legacy") for x in (current, key)]
        motion = build.flow_net(model.settings).apply(variables["flow"], *views)
        plain = motion._replace(scale=motion.scale[..., :1] * 0 + 1)
        decision = build.decision_net(model.settings)
        propagate = jax.vmap(flownet.propagate_on_flow_grid)
        scaled = propagate(motion, features)
        found = {
            "feature": motion.deviation,
            "feature_4x8": resize.resize_bilinear(motion.deviation, (4, 8), "legacy"),
            "flow": motion.flow,
            "scale": motion.scale,
            "score": decision.apply(variables["decision"], motion.deviation)[:, None],
            "warp": propagate(plain, features),
            "scaled": scaled,
        }
        return found, resize.resize_bilinear(scaled, current.shape[1:3], "legacy")

    variables = model.variables
    key_maps, key_scores = segment(variables["segmenter"], regions[0])
    _, current_scores = segment(variables["segmenter"], regions[1])
    found, scores = compare(variables, regions[1], regions[0], key_maps["fc_out"])
    key_scores, current_scores, scores = map(
        np.asarray, (key_scores, current_scores, scores)
    )
    outputs = {f"region0/{name}": x[:1] for name, x in key_maps.items()}
    outputs |= {f"pair/{name}": x for name, x in found.items()}
    outputs["key/fc_out"] = key_maps["fc_out"]
    outputs["key/mask"], outputs["key/max_score"] = _merged(key_scores, size, overlap)
    outputs["pair/mask"], outputs["pair/max_score"] = _merged(scores, size, overlap)
    agree = scores.argmax(-1) == current_scores.argmax(-1)
    outputs["pair/agreement"] = agree.mean((1, 2))
    outputs["image_s"] = vgg.subtract(regions[0], segmenter.mean)[..., ::-1]
    outputs["image_f"] = regions[0][:, ::2, ::2, ::-1] / 255
    parity.assert_same(case, outputs)
