"""The table of `inference.compare`, for people and as a file."""

import math


def header(peers) -> str:
    """Return the two lines above the table."""
    others = "".join(f"{name:>9}" for name in ("plain", *peers))
    width = len(others)
    groups = (f"{what:>{width}}" for what in ("wall ms", "wall / ours", "CPU / ours"))
    return (
        f"{'':<71}{'  '.join(groups)}\n"
        f"{'network':<38}{'input':>10}{'parameters':>13}{'ours':>10}{others}"
        f"  {others}  {others}"
    )


def line(found, peers) -> str:
    """Return the line of the table for a timing, and why it lacks peers."""
    others = ("plain", *peers)
    line = (
        f"{found.network + ':' + found.part:<38}{_size(found):>10}"
        f"{found.parameters:>13,}{_milliseconds(found, 'ours', '.1f'):>10}"
    )
    line += "".join(f"{_milliseconds(found, name, '.1f'):>9}" for name in others)
    for ratio in (found.ratio, found.cpu_ratio):
        line += "  " + "".join(f"{_number(ratio(name), '.2f'):>9}" for name in others)
    for name, why in found.missing.items():
        line += f"\n  without {peers[name].NAME}: {why}"
    return line


def columns(peers) -> tuple[str, ...]:
    """Return the names of the columns of the file."""
    return (
        *("network", "part", "input", "parameters", "plain_ms", "ms"),
        *(f"{name}_ms" for name in peers),
        *("ratio", "cpu_ratio"),
        *(f"{name}_{what}" for name in peers for what in ("ratio", "cpu_ratio")),
        *("compile_s", "difference", "hardware"),
    )


def row(found, peers, hardware: str) -> dict[str, object]:
    """Return the cells of `columns`."""
    row = {
        "network": found.network,
        "part": found.part,
        "input": _size(found),
        "parameters": found.parameters,
        "ms": _milliseconds(found, "ours", ".4g"),
        "compile_s": f"{found.compile_seconds:.4g}",
        "difference": f"{found.difference:.2g}",
        "hardware": hardware,
    }
    for name in ("plain", *peers):
        prefix = "" if name == "plain" else f"{name}_"
        row[f"{name}_ms"] = _milliseconds(found, name, ".4g")
        row[f"{prefix}ratio"] = _number(found.ratio(name), ".4g")
        row[f"{prefix}cpu_ratio"] = _number(found.cpu_ratio(name), ".4g")
    return row


def _size(found) -> str:
    return "x".join(map(str, found.input))


def _milliseconds(found, program: str, form: str) -> str:
    seconds = found.seconds.get(program)
    return format(1e3 * seconds.wall, form) if seconds else ""


def _number(x: float, form: str) -> str:
    return "" if math.isnan(x) else format(x, form)
