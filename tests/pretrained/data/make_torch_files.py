"""Write the small torch files of this folder. Needs torch; made once with 2.15.0.

    python make_torch_files.py FOLDER

Every number is a small multiple of 1/4, so all types hold it (whole numbers cut it);
the tests know them by the rule of `counted`: 0, 0.25, 0.5, ... in C order.
"""

import collections
import sys
from pathlib import Path

import torch


def counted(*shape, dtype=torch.float32):
    return (torch.arange(torch.Size(shape).numel()) / 4).reshape(shape).to(dtype)


def network():
    """Return a state dict with a running count and its own `_metadata`."""
    net = torch.nn.Sequential(
        collections.OrderedDict(
            conv=torch.nn.Conv2d(2, 3, 2), norm=torch.nn.BatchNorm2d(3)
        )
    )
    state = net.state_dict()
    for value in state.values():
        value.copy_(counted(*value.shape))
    return state


def views():
    """Return views into one storage, by offset and strides, and an array of bool."""
    base = counted(4, 6)
    return {
        "base": base,
        "transposed": base.t(),
        "strided": base[1:, ::2],
        "row": base[2],
        "expanded": base[:, :1].expand(4, 5),
        "empty": base[:0],
        "scalar": base[3, 5],
        "bool": base > 1,
    }


def types():
    names = "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8"
    return {name: counted(8, dtype=getattr(torch, name)) for name in names.split()}


def main(folder):
    torch.manual_seed(0)
    files = {
        "network": network(),
        "training": {"epoch": 7, "state_dict": network(), "best_EPE": 1.5},
        "views": views(),
        "types": types(),
        "parameter": {"weight": torch.nn.Parameter(counted(2, 3))},
    }
    for name, value in files.items():
        for legacy in (False, True):
            path = Path(folder, f"{name}-{'legacy' if legacy else 'zip'}.pth")
            torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    # Types without a storage class of their own, which only the new form can hold.
    new = {
        name: counted(8, dtype=getattr(torch, name))
        for name in ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2")
    }
    torch.save(new, Path(folder, "untyped-zip.pth"))


if __name__ == "__main__":
    main(sys.argv[1])
