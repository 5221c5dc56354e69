"""DVSNet's networks in our framework against what its own code computed."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import build
from jaxseg.models import vgg
from jaxseg.ops import resize
from tests.pretrained import parity


def _regions(frame, overlap):
    """Cut the four quarters of a frame, each with its neighbours' next pixels."""
    return np.stack([frame[place] for place in _places(*frame.shape[:2], overlap)])


def _places(height, width, overlap):
    rows = slice(0, height // 2 + overlap), slice(height // 2 - overlap, height)
    columns = slice(0, width // 2 + overlap), slice(width // 2 - overlap, width)
    return [(row, column) for row in rows for column in columns]


def _merged(labels, highest, size, overlap):
    """Return label map and highest score of a frame from those of its regions.

    A later region wins where its score is higher. The source forgets to keep the
    score, though not the label, of the last one where it meets the region above.
    """
    label = np.zeros(size, np.uint8)
    best = np.full(size, -np.inf, np.float32)
    for index, place in enumerate(_places(*size, overlap)):
        wins = highest[index] > best[place]
        label[place] = np.where(wins, labels[index], label[place])
        if index == 3:
            wins[: 2 * overlap, 2 * overlap :] = False
        best[place] = np.where(wins, highest[index], best[place])
    return label[None, :, :, None], best[None, :, :, None]


def _with_sizes(settings, region):
    """Return settings for regions of another size, which F sees at half of it."""
    half = tuple(side // 2 for side in region)
    sizes = {"segmenter": tuple(region), "flow": half}
    return settings | {
        part: settings[part] | {"input_size": size} for part, size in sizes.items()
    }


def _propagate(settings):
    """Return what the framework makes of frames of a region and their key frames."""
    framework = build.framework(settings)
    net, size = build.segmenter_net(settings), build.input_size(settings)

    def one(variables, current, key):
        views = [framework.view_fn(variables, image) for image in (current, key)]
        motion = framework.motion_fn(variables, *views)
        plain = motion._replace(scale=jnp.ones_like(motion.scale))
        features = framework.feature_fn(variables, key)
        scaled = framework.propagate_fn(motion, features)
        found = {
            "feature": framework.deviation_fn(motion),
            "flow": motion.flow,
            "scale": motion.scale,
            "warp": framework.propagate_fn(plain, features),
            "scaled": scaled,
        }
        labels = {
            "pair": framework.task_fn(variables, scaled),
            "key": framework.task_fn(variables, features),
            "current": framework.task_fn(
                variables, framework.feature_fn(variables, current)
            ),
        }
        highest = {
            name: net.task(x, size).max(-1)
            for name, x in (("pair", scaled), ("key", features))
        }
        return features, found, labels, highest

    return jax.jit(jax.vmap(one, in_axes=(None, 0, 0)))


def test_every_output_is_that_of_the_source(shared, tmp_path):
    case = parity.open_case(shared, "dvsnet")
    model, report = parity.converted(case, "dvsnet", tmp_path)
    assert report.parameters == 67_267_672 and not report.skipped
    config = case.manifest["config"]
    overlap = config["overlap"]
    settings = _with_sizes(model.settings, config["region"])
    size, variables = config["input_size"], model.variables
    regions = [_regions(case.inputs[f"frame_{i}"], overlap) for i in (0, 1)]
    net = build.segmenter_net(settings)

    @jax.jit
    def inside(variables, images):
        return net.apply(variables["segmenter"], images, method="endpoints")

    @jax.jit
    def decide(variables, deviation):
        score = build.decision_net(settings).apply(variables["decision"], deviation)
        return score[:, None], resize.resize_bilinear(deviation, (4, 8), net.RULE)

    logits, found, labels, highest = jax.device_get(
        _propagate(settings)(variables, regions[1], regions[0])
    )
    found["score"], found["feature_4x8"] = decide(variables, found["feature"])
    found["agreement"] = (labels["pair"] == labels["current"]).mean((1, 2))
    outputs = {f"pair/{name}": x for name, x in found.items()}
    outputs["key/fc_out"] = logits
    for name in ("key", "pair"):
        outputs[f"{name}/mask"], outputs[f"{name}/max_score"] = _merged(
            labels[name], highest[name], size, overlap
        )
    maps = inside(variables, regions[0][:1])
    outputs |= {f"region0/{name}": x for name, x in maps.items()}
    outputs["image_s"] = vgg.subtract(regions[0], net.mean)[..., ::-1]
    frames = jax.vmap(build.flow_frame_fn(settings))(regions[0])
    outputs["image_f"] = frames[..., ::-1] / 255
    parity.assert_same(case, outputs)
