"""Data parallelism: one function per device, its results averaged over the devices.

This is the only file that names `jax.pmap`. Today that is a front for
`jit(shard_map(..., check_vma=False))`, which is offered beside it under its own name.
In both, gradients inside the function are local to a device, so one
`mean_over_devices` at its end is right.

The devices may belong to several processes (`runtime.distributed`), each of which has
the whole batch and gives its own devices their share.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.errors import UserError

AXIS = "batch"


class Split(NamedTuple):
    """A batch whose shares lie on the devices; see `Spread.split`."""

    tree: Any


class Spread:
    """A function that works on all devices; made by `data_parallel`."""

    def __init__(self, compiled, in_axes, mesh, stacked):
        self._compiled, self._in_axes = compiled, tuple(in_axes)
        self._mesh, self._stacked = mesh, stacked

    def __call__(self, *args: Any) -> Any:
        """Apply it to whole batches or to `Split` ones, and to what all devices see."""
        axes = zip(args, self._in_axes, strict=True)
        found = self._compiled(
            *(
                replicate(arg, self._mesh)
                if axis is None
                else (arg if isinstance(arg, Split) else self.split(arg)).tree
                for arg, axis in axes
            )
        )
        return _whole(found, self._mesh)

    def split(self, batch: Any) -> Split:
        """Give every device its share of a tree of host arrays, ahead of the call.

        Raises:
          UserError: the leading axis is no multiple of the number of devices.
        """
        count = self._mesh.size
        _check_divides(batch, count)
        shares = NamedSharding(self._mesh, P(*self._mesh.axis_names))

        def put(x):
            if self._stacked:
                x = x.reshape(count, -1, *x.shape[1:])
            return _put(x, shares)

        return Split(jax.tree.map(put, batch))


def data_parallel(
    fn: Callable[..., Any],
    in_axes: Sequence[int | None],
    *,
    num_devices: int | None = None,
    how: str = "pmap",
    axis_name: str = AXIS,
    donate: Sequence[int] = (),
) -> Spread:
    """Compile a per-device function into one that spreads its batch over devices.

    Args:
      fn: takes trees of arrays; must end in `mean_over_devices` (or another
        collective over `axis_name`) for everything it returns, because the results of
        all devices are taken to be equal and are not compared.
      in_axes: for every argument None (each device sees all of it) or 0 (each sees its
        share of the leading axis, N / D of N entries, in order).
      num_devices: D, of the devices of all processes; all of them if None.
      how: "pmap" or "shard_map".
      axis_name: the name that collectives in `fn` use.
      donate: positions of arguments whose memory may be reused.

    Returns:
      A function of the same arguments, with whole batches. Its results are replicated
      on the devices and have no device axis. Of several processes, all must call it.

    Raises:
      UserError: there are too few devices (now), or N is no multiple of D (at a call).
    """
    chosen = devices(num_devices)
    mesh = Mesh(np.array(chosen), (axis_name,))
    if how == "pmap":
        compiled = jax.pmap(
            fn,
            axis_name=axis_name,
            in_axes=tuple(in_axes),
            out_axes=None,
            devices=chosen,
            donate_argnums=tuple(donate),
        )
    elif how == "shard_map":
        specs = tuple(P() if axis is None else P(axis_name) for axis in in_axes)
        mapped = jax.shard_map(
            fn, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False
        )
        compiled = jax.jit(mapped, donate_argnums=tuple(donate))
    else:
        raise UserError(f"found how={how!r}; expected pmap or shard_map; choose one")
    return Spread(compiled, in_axes, mesh, stacked=how == "pmap")


def mean_over_devices(tree: Any, axis_name: str = AXIS) -> Any:
    """Average every array over the devices; call once, at the end of the function."""
    return jax.lax.pmean(tree, axis_name)


def place(tree: Any, num_devices: int | None = None, axis_name: str = AXIS) -> Any:
    """Put a tree whole on the devices that `data_parallel` uses, once for all calls."""
    return replicate(tree, Mesh(np.array(devices(num_devices)), (axis_name,)))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Place every array whole on every device of a mesh; free where it is already."""
    sharding = NamedSharding(mesh, P())

    def put(x):
        if isinstance(x, jax.Array) and x.committed and x.sharding == sharding:
            return x
        return _put(x, sharding)

    return jax.tree.map(put, tree)


def local(tree: Any) -> Any:
    """Return replicated arrays as a process has them that computes by itself."""
    if jax.process_count() == 1:
        return tree
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def devices(num_devices: int | None = None) -> list[jax.Device]:
    """Return the first `num_devices` devices, as many of each process, or all of them.

    Raises:
      UserError: there are fewer, or they do not divide over the processes.
    """
    count = jax.process_count()
    of_each = [jax.local_devices(process_index=index) for index in range(count)]
    found = sum(of_each, [])
    if num_devices is None:
        num_devices = len(found)
    if not 1 <= num_devices <= len(found):
        raise UserError(
            f"found {len(found)} {found[0].platform} device(s); expected at least "
            f"{num_devices}; ask for 1 to {len(found)} devices"
        )
    share = num_devices // count
    if num_devices % count or share > min(map(len, of_each)):
        raise UserError(
            f"found {num_devices} device(s) of {count} processes, which have "
            f"{', '.join(str(len(d)) for d in of_each)}; expected as many of each; "
            "start every process with the same number or change runtime.devices"
        )
    return sum((found[:share] for found in of_each), [])


def _put(x: Any, sharding: NamedSharding) -> jax.Array:
    """Place a value that every process has; each does so for its own devices."""
    if sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        data = _put(jax.random.key_data(x), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def _whole(tree: Any, mesh: Mesh) -> Any:
    """Undo that pmap returns what the devices of one process have."""
    sharding = NamedSharding(mesh, P())
    if sharding.is_fully_addressable:
        return tree

    def join(x):
        if not x.is_fully_addressable:
            return x
        shards = [shard.data for shard in x.addressable_shards]
        return jax.make_array_from_single_device_arrays(x.shape, sharding, shards)

    return jax.tree.map(join, tree)


def _check_divides(batch: Any, count: int) -> None:
    sizes = {len(leaf) for leaf in jax.tree.leaves(batch)}
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
