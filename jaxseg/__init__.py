"""Dynamic video segmentation with learned key-frame schedulers, in JAX and Flax."""

__version__ = "0.1.0"
