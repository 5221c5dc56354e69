"""Known models with few channels, and checkpoints of theirs with random numbers."""

import numpy as np

from jaxseg import convert
from jaxseg.pretrained import catalogue, rules
from jaxseg.pretrained.readers import open as opening
from tests.pretrained import caffe_writer

RNG = np.random.default_rng(0)
TINY = {"width": 1 / 32, "hidden": 4}


def shrunk(name, **fields):
    """Return a known model with fewer channels."""
    known = catalogue.find(name)
    part = next(iter(known.settings))
    settings = known.settings | {part: known.settings[part] | fields}
    return known._replace(settings=settings)


def draw(*shape):
    """Return a vector, or [O, I, kh, kw] that keep the size of what they see."""
    scale = 1 if len(shape) == 1 else np.sqrt(2 / np.prod(shape[1:]))
    return (scale * RNG.normal(size=shape)).astype(np.float32)


def converted(known, path):
    """Return settings for three classes, and what the file becomes."""
    settings = catalogue.settings_of(known, 3 if known.classes else None)
    found = opening.open_checkpoint(path)
    shapes = convert.template(settings)
    return settings, rules.convert(found, known.table, shapes, known.fresh)


def layers_of(known):
    """Return random layers of a segmenter, by the names that ours have too."""
    settings = catalogue.settings_of(known, 3 if known.classes else None)
    shapes = convert.template(settings)["segmenter"]["params"]
    shapes = {**shapes.pop("vgg16"), **shapes}
    return {name: theirs(shapes, name) for name in shapes}


def theirs(shapes, name):
    """Return random weights [O, I, kh, kw] and a bias for a layer of ours."""
    kernel = shapes[name]["kernel"].shape
    return [draw(*(kernel[i] for i in (3, 2, 0, 1))), draw(kernel[3])]


def caffe(path, layers, **options):
    """Write a Caffe net and return its path."""
    path.write_bytes(caffe_writer.net(layers, **options))
    return path
