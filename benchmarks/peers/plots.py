"""Draws the ratios of docs/performance.json as bars: `python -m benchmarks.peers.plots docs/performance.json`."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

FIGURES = {
    "training": ("small", "large", "small_varying", "large_varying", "long_200", "long_1000", "long_5000"),
    "around": ("job", "batches", "loading", "answers", "export"),
}
CELL_COLOURS = {"rnn": "#3b6fb6", "lstm": "#e08a3c", "gru": "#4c9f70"}
OTHER_COLOURS = ("#7b6bb0", "#c95f7b", "#6b7280")
LABEL_HEIGHT = 0.35
"""Of the name of a line, in µs, which another must not cover."""
INK, PALE_INK, GRID = "#2b2f36", "#6b7280", "#d9dde3"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
BAR_HEIGHT = 0.25
NUM_COLUMNS = 2


def draw(comparisons: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw a panel for each comparison."""
    rows = [comparisons[start : start + NUM_COLUMNS] for start in range(0, len(comparisons), NUM_COLUMNS)]
    heights = [max(_num_bars(comparison) for comparison in row) * 0.21 + 1.0 for row in rows]
    figure, panels = plt.subplots(
        len(rows),
        NUM_COLUMNS,
        figsize=(13, sum(heights) + 0.5),
        layout="constrained",
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    for panel in panels.flat[len(comparisons) :]:
        panel.set_visible(False)
    for panel, comparison in zip(panels.flat, comparisons, strict=False):
        bars(panel, comparison)
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.12)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def bars(panel: Axes, comparison: Mapping[str, Any]) -> None:
    """Draw a bar for each peer and setting, from 1, which is our time, to the peer's, and its quartiles as a line."""
    settings = comparison["settings"]
    peers = [name for name in next(iter(settings.values())) if name != comparison["ours"]]
    for index, (setting, of_setting) in enumerate(settings.items()):
        places = [place + (index - (len(settings) - 1) / 2) * BAR_HEIGHT for place in range(len(peers))]
        lower, median, upper = zip(*(of_setting[peer]["ratio"] for peer in peers), strict=True)
        colour = CELL_COLOURS.get(setting) or OTHER_COLOURS[index]
        widths = [value - 1 for value in median]
        panel.barh(places, widths, BAR_HEIGHT * 0.88, left=1, color=colour, label=_said(setting))
        panel.hlines(places, lower, upper, color=INK, linewidth=1)
        for place, value, end in zip(places, median, upper, strict=True):
            at = (max(end, 1), place)
            panel.annotate(_number(value), at, (5, 0), textcoords="offset points", va="center", size=8.5)
    ends = [end for of_setting in settings.values() for peer in peers for end in of_setting[peer]["ratio"]]
    _dress_axis(panel, min(ends), max(ends))
    panel.set_yticks(range(len(peers)), peers)
    panel.set_ylim(len(peers) - 0.5, -0.5)
    title, _, sizes = comparison["title"].partition(": ")
    panel.annotate(title, (0, 1), (0, 21), "axes fraction", "offset points", size=11.5, weight="bold")
    panel.annotate(_with_signs(sizes), (0, 1), (0, 7), "axes fraction", "offset points", size=9, color=PALE_INK)
    panel.set_xlabel(f"CPU time over that of {comparison['ours']}", size=9, loc="left", color=PALE_INK)
    panel.legend(
        loc="lower right",
        bbox_to_anchor=(1.03, 1.0),
        borderaxespad=1.8,
        ncols=len(settings),
        frameon=False,
        fontsize=9,
        handlelength=1,
        columnspacing=1.2,
        borderpad=0,
    )


def draw_growth(scale: Mapping[str, Any], path: Path) -> None:
    """Draw the time of a sequence in each stage as their number grows."""
    figure, panel = plt.subplots(figsize=(8, 4.2), layout="constrained")
    colours = [*CELL_COLOURS.values(), *OTHER_COLOURS]
    by_height = sorted(scale["stages"].items(), key=lambda stage: stage[1]["microseconds"][-1])
    height = 0.0
    for (stage, of), colour in zip(by_height, colours, strict=True):
        panel.plot(scale["sizes"], of["microseconds"], color=colour, marker="o", linewidth=1.8)
        height = max(height + LABEL_HEIGHT, of["microseconds"][-1])
        at = (scale["sizes"][-1], height)
        panel.annotate(stage, at, (8, 0), textcoords="offset points", va="center", color=colour)
    panel.set_xscale("log")
    panel.set_ylim(0)
    panel.set_xlim(scale["sizes"][0] / 1.4, scale["sizes"][-1] * 2.4)
    panel.xaxis.set_major_locator(FixedLocator(scale["sizes"]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel("sequences of length 10", size=9, loc="left", color=PALE_INK)
    panel.set_title("CPU µs a sequence", size=11.5, weight="bold", loc="left")
    panel.grid(axis="y", color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(length=0)
    panel.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def _dress_axis(panel: Axes, lowest: float, highest: float) -> None:
    """Make the x axis logarithmic, with room for the numbers beside the bars."""
    panel.set_xscale("log")
    panel.set_xlim(min(0.9, lowest / 1.05), max(highest, 1.8) ** 1.15 * 1.05)
    steps = (1, 1.5, 2, 3, 5, 7) if highest < 10 else (1, 2, 5) if highest < 100 else (1,)
    panel.xaxis.set_major_locator(LogLocator(subs=steps))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g} ×"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.axvline(1, color=INK, linewidth=1.2)
    panel.grid(axis="x", color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(length=0)
    panel.spines[["top", "right", "left"]].set_visible(False)


def _said(setting: str) -> str:
    return setting.upper() if setting in CELL_COLOURS else _with_signs(setting.replace("_", " "))


def _with_signs(text: str) -> str:
    return text.replace(" x ", " × ")


def _number(value: float) -> str:
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _num_bars(comparison: Mapping[str, Any]) -> int:
    settings = comparison["settings"]
    return len(settings) * (len(next(iter(settings.values()))) - 1)


def main() -> None:
    results = Path(sys.argv[1])
    known = json.loads(results.read_text(encoding="utf-8"))
    mpl.use("agg")
    mpl.rcParams.update(STYLE)
    for name, sections in FIGURES.items():
        comparisons = [of for section in sections if section in known for of in known[section]["comparisons"]]
        if comparisons:
            draw(comparisons, results.with_name(f"{results.stem}-{name}.png"))
    if "scale" in known:
        draw_growth(known["scale"], results.with_name(f"{results.stem}-scale.png"))


if __name__ == "__main__":
    main()
