"""What the routing depends on: the share of trajectories that change sides when one choice of the probe is another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from prism.stages.figures.style import (
    GREY,
    MARKERS,
    METRIC_NAMES,
    PAGE,
    SERIES,
    FigureFiles,
    draw_intervals,
    finish,
    legend_above,
    new_figure,
    panel_title,
    read_rows,
    rows_axis,
)

ROW_INCHES, PANEL_INCHES = 0.27, 0.45
CHANCE = 50
VALUES = {"moved_percent": "value", "moved_low": "value_low", "moved_high": "value_high"}
NOTE = (
    "Percent of the trajectories that the median split sends to the other side when one choice is made in another way, "
    "95% bootstrap over trajectories. The line at 50% is what two unrelated scores give."
)


def draw(tables: Sequence[Path], out: FigureFiles) -> None:
    """Draw a panel a benchmark: each pair of ways from top to bottom, a mark a score.

    Args:
        tables: ``routing_sensitivity.csv``, a single file.

    Raises:
        BadInput: the table has no row.
    """
    table = read_rows(tables)
    # where the backbones are what is compared, their names stand below anyway
    names = np.where(table["aspect"] == "backbone", "", table["backbone"] + ", ")
    table["pair"] = names + table["aspect"] + "\n" + table["first"] + " | " + table["second"]
    blocks = dict(list(table.rename(columns=VALUES).groupby("benchmark", sort=False)))
    heights = [PANEL_INCHES + ROW_INCHES * block["pair"].nunique() for block in blocks.values()]
    figure, axes = new_figure(PAGE, 0.3 + sum(heights), len(blocks), 1, sharex=True, height_ratios=heights)
    for place, (benchmark, block) in zip(axes[:, 0], blocks.items(), strict=True):
        _draw_panel(place, block)
        panel_title(place, benchmark)
    axes[-1, 0].set_xlabel("trajectories that change sides, %")
    legend_above(figure, axes[0, 0], "right")
    finish(figure, [NOTE], out)


def _draw_panel(axes: Axes, block: pd.DataFrame) -> None:
    pairs = list(dict.fromkeys(block["pair"]))
    axes.axvline(CHANCE, color=GREY, linewidth=0.8, linestyle="--")
    metrics = list(dict.fromkeys(block["score"]))
    for number, metric in enumerate(metrics):
        found = block[block["score"] == metric].set_index("pair").reindex(pairs)
        places = np.arange(len(pairs)) + 0.22 * (number - (len(metrics) - 1) / 2)
        style = {"label": METRIC_NAMES[metric], "color": SERIES[number], "marker": MARKERS[number]}
        draw_intervals(axes, found, places, **style)
    rows_axis(axes, pairs, fontsize=5.5)
    # panels share the axis: the widest interval of either is seen whole
    axes.set_xlim(-1, max(71, axes.get_xlim()[1], block["value_high"].max() + 1))
