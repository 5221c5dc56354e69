"""Which of several equal forms operations take: the plain one, or the platform's.

XLA is slow on a CPU at depthwise, transposed, 1x1 and few-channel convolutions by
their obvious forms. Everything that chooses asks here, while it is traced. All of the
other forms are for a CPU alone (`for_cpu`), but for that of 1x1 convolutions, which is
left out only where the plain ones are asked for.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_plain = contextvars.ContextVar("plain", default=False)


def for_cpu() -> bool:
    """Say whether to trace the forms that are faster on a CPU."""
    return jax.default_backend() == "cpu" and not is_plain()


def is_plain() -> bool:
    """Say whether every operation is to be traced in its obvious form."""
    return _plain.get()


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Trace every operation in its obvious form, on every platform.

    For comparison. Programs compiled before keep their forms.
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)
