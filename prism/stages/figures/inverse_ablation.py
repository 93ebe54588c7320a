"""Figure 3, inverse ablation: PRISM's routing against the same routing with its sides swapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from prism.stages.figures.evaluations import INTERVAL_NOTE, Evaluations
from prism.stages.figures.style import (
    BLUE,
    COLUMN,
    GREY,
    METRIC_NAMES,
    ORANGE,
    FigureFiles,
    finish,
    legend_above,
    new_figure,
    panel_title,
    percent_axis,
)

# the method that routes by a metric and the one with its sides swapped, by metric
Pairs = Mapping[str, Sequence[str]]
ROW_INCHES = 1.4
BAR_WIDTH = 0.42
VALUE_SIZE = 4.5
# keeps a value readable where the line of random runs through it
VALUE_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4}
MEASURES = {"score": "average score", "sr": "success rate"}


def draw(evaluations: Sequence[Path], backbones: Sequence[str], pairs: Pairs, reference: str, out: FigureFiles) -> None:
    """Draw a row a backbone: PRISM and inverse side by side for every metric, the reference as a dashed line.

    Left the average score, right the success rate.

    Args:
        pairs: the method that routes by a metric and its inverse, by metric.
        reference: the method of the dashed line.

    Raises:
        BadInput: a method has no evaluation, or a file is not one.
    """
    found = Evaluations(evaluations)
    rows = len(backbones)
    figure, axes = new_figure(COLUMN, 0.35 + ROW_INCHES * rows, rows, len(MEASURES), sharey=True)
    for row, backbone in zip(axes, backbones, strict=True):
        for panel, measure in zip(row, MEASURES, strict=True):
            _draw_panel(panel, found, backbone, measure, pairs, reference)
            percent_axis(panel, f"{backbone}\npercent" if panel is row[0] else "")
    for panel, title in zip(axes[0], MEASURES.values(), strict=True):
        panel_title(panel, title)
    legend_above(figure, axes[0, 0], ncols=3, columnspacing=1.0, handlelength=1.6)
    notes = [
        "PRISM: SFT on the low-conflict half, RL on the high-conflict half; inverse: the halves swapped. "
        f"{INTERVAL_NOTE} Grey band: that of {reference}. {found.size(backbones[0], reference)}"
    ]
    finish(figure, notes, out)


def _draw_panel(
    axes: Axes, evaluations: Evaluations, backbone: str, measure: str, pairs: Pairs, reference: str
) -> None:
    for side, label, colour, hatch in ((-1, "PRISM", ORANGE, ""), (1, "inverse", BLUE, "////")):
        methods = [pair[side > 0] for pair in pairs.values()]
        estimates = [evaluations.estimate(backbone, method, measure) for method in methods]
        places = [place + side * BAR_WIDTH / 2 for place in range(len(pairs))]
        axes.bar(
            places,
            [found.value for found in estimates],
            BAR_WIDTH,
            yerr=list(zip(*(found.errors for found in estimates), strict=True)),
            color=colour,
            edgecolor="white",
            hatch=hatch,
            linewidth=0,
            label=label,
            error_kw={"linewidth": 0.8, "capsize": 2, "capthick": 0.8},
        )
        for place, found in zip(places, estimates, strict=True):
            height = min(found.high + 1.5, 94)
            axes.text(
                place, height, f"{found.value:.0f}", ha="center", va="bottom", fontsize=VALUE_SIZE, bbox=VALUE_BOX
            )
    line = evaluations.estimate(backbone, reference, measure)
    axes.axhspan(line.low, line.high, color=GREY, alpha=0.12, linewidth=0, zorder=0)
    axes.axhline(line.value, color="black", linestyle="--", linewidth=0.9, label=reference)
    axes.set_xticks(range(len(pairs)), [METRIC_NAMES.get(metric, metric) for metric in pairs])
    axes.tick_params(axis="x", length=0)
