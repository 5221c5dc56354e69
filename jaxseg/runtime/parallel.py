"""Data parallelism: one function per device, its results averaged over the devices.

This is the only file that names `jax.pmap`. Today that is a front for
`jit(shard_map(..., check_vma=False))`, which is offered beside it under its own name.
In both, gradients inside the function are local to a device, so one
`mean_over_devices` at its end is right.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.errors import UserError

AXIS = "batch"


def data_parallel(
    fn: Callable[..., Any],
    in_axes: Sequence[int | None],
    *,
    num_devices: int | None = None,
    how: str = "pmap",
    axis_name: str = AXIS,
    donate: Sequence[int] = (),
) -> Callable[..., Any]:
    """Compile a per-device function into one that spreads its batch over devices.

    Args:
      fn: takes trees of arrays; must end in `mean_over_devices` (or another
        collective over `axis_name`) for everything it returns, because the results of
        all devices are taken to be equal and are not compared.
      in_axes: for every argument None (each device sees all of it) or 0 (each sees its
        share of the leading axis, N / D of N entries, in order).
      num_devices: D, of the local devices; all of them if None.
      how: "pmap" or "shard_map".
      axis_name: the name that collectives in `fn` use.
      donate: positions of arguments whose memory may be reused.

    Returns:
      A function of the same arguments, with whole batches. Its results are replicated
      on the devices and have no device axis.

    Raises:
      UserError: there are too few devices (now), or N is no multiple of D (at a call).
    """
    devices = local_devices(num_devices)
    mesh = Mesh(np.array(devices), (axis_name,))
    if how == "pmap":
        compiled = jax.pmap(
            fn,
            axis_name=axis_name,
            in_axes=tuple(in_axes),
            out_axes=None,
            devices=devices,
            donate_argnums=tuple(donate),
        )
        split = lambda x: x.reshape(len(devices), -1, *x.shape[1:])
    elif how == "shard_map":
        specs = tuple(P() if axis is None else P(axis_name) for axis in in_axes)
        mapped = jax.shard_map(
            fn, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False
        )
        compiled = jax.jit(mapped, donate_argnums=tuple(donate))
        split = lambda x: jax.device_put(x, NamedSharding(mesh, P(axis_name)))
    else:
        raise UserError(f"found how={how!r}; expected pmap or shard_map; choose one")

    def call(*args):
        _check_divides(args, in_axes, len(devices))
        return compiled(
            *(
                replicate(arg, mesh) if axis is None else jax.tree.map(split, arg)
                for arg, axis in zip(args, in_axes, strict=True)
            )
        )

    return call


def mean_over_devices(tree: Any, axis_name: str = AXIS) -> Any:
    """Average every array over the devices; call once, at the end of the function."""
    return jax.lax.pmean(tree, axis_name)


def place(tree: Any, num_devices: int | None = None, axis_name: str = AXIS) -> Any:
    """Put a tree whole on the devices that `data_parallel` uses, once for all calls."""
    devices = local_devices(num_devices)
    return replicate(tree, Mesh(np.array(devices), (axis_name,)))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Place every array whole on every device of a mesh; free where it is already."""
    sharding = NamedSharding(mesh, P())

    def put(x):
        if isinstance(x, jax.Array) and x.committed and x.sharding == sharding:
            return x
        return jax.device_put(x, sharding)

    return jax.tree.map(put, tree)


def local_devices(num_devices: int | None = None) -> list[jax.Device]:
    """Return the first `num_devices` devices of this process, or all of them.

    Raises:
      UserError: there are fewer.
    """
    devices = jax.local_devices()
    if num_devices is None:
        return devices
    if not 1 <= num_devices <= len(devices):
        raise UserError(
            f"found {len(devices)} {devices[0].platform} device(s); expected at least "
            f"{num_devices}; ask for 1 to {len(devices)} devices"
        )
    return devices[:num_devices]


def _check_divides(args: Sequence[Any], in_axes: Sequence[int | None], count: int):
    sizes = {
        len(leaf)
        for arg, axis in zip(args, in_axes, strict=True)
        if axis is not None
        for leaf in jax.tree.leaves(arg)
    }
    if len(sizes) > 1:
        raise ValueError(f"the leading axes of the batch differ: {sorted(sizes)}")
    for size in sizes:
        if size % count or not size:
            fits = [d for d in range(1, count) if size % d == 0]
            raise UserError(
                f"found {size} examples for {count} devices; expected a multiple of "
                f"{count}; use {math.ceil(max(size, 1) / count) * count} examples or "
                f"{' or '.join(map(str, fits))} device(s)"
            )
