"""The curve as a plain table for a terminal."""

from pathlib import Path
from typing import Any

from jaxseg.evaluation import rows
from jaxseg.evaluation import table1 as scores

_NAMES = {"policy": "policy (threshold)", "policy_sampled": "policy (sampled)"}


def curve_table(path: str | Path) -> str:
    """Return the rows of curve.csv as aligned text, mean IoU in percent."""
    lines = [
        f"{'scheduler':<20}{'parameter':>10}{'eta':>6}{'keys':>8}{'AKI':>8}"
        f"{'mIoU':>8}{'frame mean':>12}{'regret':>8}{'FPS':>8}"
    ]
    for row in rows.read_csv(Path(path)):
        lines.append(
            f"{_NAMES.get(row['scheduler'], row['scheduler']):<20}"
            f"{row['parameter']:>10.4g}{_cell(row['eta'], '.2f', 6)}"
            f"{row['keys']:>8.1f}{row['aki']:>8.1f}"
            f"{_cell(row['miou'], '.2f', 8, 100)}"
            f"{100 * row['miou_frame_mean']:>12.2f}{100 * row['regret']:>8.2f}"
            f"{_cell(row['fps'], '.0f', 8)}"
        )
    return "\n".join(lines)


def table1(path: str | Path) -> str:
    """Return the rows of table1.csv as aligned text, mean IoU in percent."""
    lines = [
        f"{'':<2}{'architecture':<36}{'scales':>12}{'parameters':>12}{'frames':>8}"
        f"{'mIoU':>8}{'frame mean':>12}{'FPS':>8}"
    ]
    for row in scores.read(path):
        scales = row["scales"] + (" flip" if row["flip"] == "True" else "")
        lines.append(
            f"{row['network']:<2}{row['architecture']:<36}{scales:>12}"
            f"{int(row['parameters']):>12,}{row['frames']:>8}"
            f"{100 * float(row['miou']):>8.2f}"
            f"{100 * float(row['miou_frame_mean']):>12.2f}{float(row['fps']):>8.1f}"
        )
    return "\n".join(lines)


def comparison_lines(found: dict[str, Any]) -> str:
    """Return two lines a policy: its key rate and its lead over random keys."""
    lines = []
    for policy in found["policies"]:
        aki = "without end" if policy["aki"] is None else f"{policy['aki']:.1f}"
        lines += [
            f"eta {policy['eta']:g}: sampled without the stop rule, "
            f"{policy['key_rate']:.4f} keys a decision "
            f"({policy['key_rate_over_eta']:.2f} eta), AKI {aki};",
            _lead(policy),
        ]
    return "\n".join(lines)


def precision_lines(found: dict[str, Any]) -> str:
    """Return the contents of precision.json as text; mean IoU in percent."""
    flow = found["flow"]
    lines = [
        f"{found['frames']} frames and {found['pairs']} pairs, in bfloat16:",
        f"mIoU of N a frame: {_changed(found['key_score'], 100)}",
        f"mIoU of propagated frames: {_changed(found['score'], 100)}",
        f"flow, pixels of its grid: mean length {flow['mean_length']:.3f}, mean "
        f"difference {flow['mean_difference']:.4f}, largest {flow['largest']:.3f}",
    ]
    lines += [
        f"key probability, eta {policy['eta']:g}: {_changed(policy, 1)}"
        for policy in found["policies"]
    ]
    return "\n".join(lines)


def _changed(found: dict[str, float], factor: float) -> str:
    names = ("float32", "bfloat16", "mean_difference", "largest")
    wide, narrow, mean, largest = (factor * found[name] for name in names)
    return (
        f"{wide:.4f} becomes {narrow:.4f}; mean difference {mean:.4f}, largest "
        f"{largest:.4f}"
    )


def _lead(policy: dict[str, Any]) -> str:
    if policy["aki"] is None:
        return "    no frame but the first ones was key, so there is nothing to compare"
    interval = policy["miou_over_random"]
    if interval is None:
        return "    the config's random rates do not reach that AKI; add more of them"
    mean, low, high = (100 * interval[name] for name in ("mean", "low", "high"))
    return (
        f"    mIoU over random keys at that AKI {mean:+.2f} points, 95 % interval "
        f"[{low:+.2f}, {high:+.2f}]"
    )


def _cell(value, form, width, factor=1.0):
    return " " * width if value is None else f"{factor * value:>{width}{form}}"
