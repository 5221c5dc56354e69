"""Where the head is and how it is turned."""

import numpy as np

from jaxseg.data.synthetic import surface


class Place:
    """Hold the turn, unit and centre of the head in canvas pixels, and its neck."""

    def __init__(self, angles, unit: float, middle: np.ndarray):
        self.rotation = surface.rotation(*angles)
        self.roll = angles[2]
        self.unit = unit
        # The head turns about the top of the neck, not about its own centre.
        moved = _PIVOT - self.rotation @ _PIVOT
        self.neck = middle + unit * (0.35 * moved[:2] + (0, 0.95))
        self.centre = middle + unit * moved[:2]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return the canvas pixels [N, 2] of head points [N, 3]."""
        return self.centre + self.unit * (points @ self.rotation.T)[:, :2]


_PIVOT = np.array([0.0, 1.05, -0.35])
