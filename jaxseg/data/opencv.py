"""The one import of OpenCV, with an error that says what to do."""

from jaxseg.errors import UserError

try:
    import cv2
except ImportError as _error:
    raise UserError(
        f"OpenCV could not be imported ({_error}); opencv-python needs graphics "
        "libraries of the system; where those cannot be installed, "
        "`pip uninstall opencv-python` and `pip install opencv-python-headless`, "
        "which is a drop-in"
    ) from _error

__all__ = ["cv2"]
