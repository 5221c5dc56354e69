"""Figures drawn from curve.csv alone."""

import io
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib import ticker  # noqa: E402

from jaxseg.runtime import files  # noqa: E402

INK, MUTED = "#1f2933", "#7b8794"
# Told apart by marker and dash as well as by colour, so that grey print works.
POLICY_COLOURS = ("#0b6e99", "#c0392b", "#2e7d32", "#8e44ad")
POLICY_MARKERS = ("o", "s", "D", "^")
STYLES = {
    "optimum": {"color": INK, "linestyle": "-", "linewidth": 2.2},
    "fixed": {"color": MUTED, "linestyle": "--", "linewidth": 1.6},
    "random": {"color": MUTED, "linestyle": ":", "linewidth": 1.8},
}
LABELS = {
    "optimum": "offline optimum",
    "fixed": "fixed interval",
    "random": "random keys",
}


def draw_curve(
    rows: list[dict[str, Any]], path: str | Path, *, title: str, max_aki: float = 150.0
) -> None:
    """Draw average key interval against mean per-frame IoU (Figure 4 of the paper).

    Args:
      rows: of `rows.read_csv`.
      path: .png or .svg.
      title: says what the data are, and that they are synthetic where they are.
    """
    series: dict[tuple, list] = defaultdict(list)
    every_frame = None
    for row in rows:
        if row["aki"] < 1.001:
            every_frame = row["miou_frame_mean"]
        elif row["aki"] <= max_aki:
            series[row["scheduler"], row["eta"], row["seed"]].append(row)
    figure, axes = plt.subplots(figsize=(7.4, 4.8), layout="constrained")
    etas = sorted({key[1] for key in series if key[1] is not None})
    first = list(STYLES)  # the bound and the rules lead the legend
    order = lambda key: first.index(key[0]) if key[0] in first else len(first)
    for key in sorted(series, key=order):
        _draw_series(axes, key, series[key], etas)
    if every_frame is not None:
        axes.axhline(100 * every_frame, color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.annotate(
            "every frame key",
            (0.995, 100 * every_frame),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            horizontalalignment="right",
            fontsize=8.5,
            color=INK,
        )
    _finish(figure, axes, title)
    _save(figure, Path(path))


def _save(figure, path: Path) -> None:
    image = io.BytesIO()
    figure.savefig(image, format=path.suffix[1:], dpi=160)
    plt.close(figure)
    files.write_atomically(path, image.getvalue())


def _draw_series(axes, key, points, etas):
    scheduler, eta, _ = key
    points = sorted(points, key=lambda row: row["aki"])
    x = [row["aki"] for row in points]
    y = [100 * row["miou_frame_mean"] for row in points]
    if scheduler in STYLES:
        axes.plot(x, y, label=LABELS[scheduler], **STYLES[scheduler])
        return
    place = etas.index(eta) % len(POLICY_COLOURS)
    colour, marker = POLICY_COLOURS[place], POLICY_MARKERS[place]
    if scheduler == "policy_sampled":
        axes.plot(
            x,
            y,
            marker=marker,
            markersize=10,
            markerfacecolor="white",
            markeredgewidth=2,
            color=colour,
            linestyle="none",
            zorder=5,
            label=f"policy, sampled, η = {eta:g}",
        )
        return
    axes.plot(
        x,
        y,
        marker=marker,
        markersize=4,
        color=colour,
        linewidth=1.5,
        label=f"policy, threshold τ swept, η = {eta:g}",
    )


def _finish(figure, axes, title):
    axes.set_xscale("log")
    ticks = [2, 3, 5, 10, 20, 30, 60, 120, 240]
    axes.xaxis.set_major_locator(ticker.FixedLocator(ticks))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel("average key interval (frames)")
    axes.set_ylabel("mean per-frame IoU (%)")
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.grid(True, color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    # One entry a label: several seeds of one policy look alike.
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    axes.legend(entries.values(), entries, frameon=False, fontsize=9, loc="lower left")
