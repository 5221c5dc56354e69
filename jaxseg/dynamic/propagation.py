"""From a key frame to another frame: motion, deviation, propagated features."""

from typing import Any

from jaxseg.dynamic.types import Framework
from jaxseg.types import Array, Variables


def propagate(
    framework: Framework, variables: Variables, view: Any, key_view: Any, features: Any
) -> tuple[Any, Any]:
    """Run F on a frame i and its key k (section 3.1).

    Args:
      view, key_view: of `Framework.view_fn`.
      features: N_feat of the key.

    Returns:
      D_{i->k} and the features propagated to i. XLA drops what is not used.
    """
    motion = framework.motion_fn(variables, view, key_view)
    return framework.deviation_fn(motion), framework.propagate_fn(motion, features)


def propagate_image(
    framework: Framework, variables: Variables, image: Array, key_image: Array
) -> Any:
    """Return the features of an image [H, W, 3], propagated from a key image."""
    _, features = propagate(
        framework,
        variables,
        framework.view_fn(variables, image),
        framework.view_fn(variables, key_image),
        framework.feature_fn(variables, key_image),
    )
    return features
