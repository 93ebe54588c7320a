"""Appendix B: what the SFT half and the RL half of each score hold, over the whole corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from prism.stages.figures.style import (
    METRIC_NAMES,
    ORANGE,
    PAGE,
    SKY,
    FigureFiles,
    draw_intervals,
    finish,
    legend_above,
    new_figure,
    read_rows,
    rows_axis,
)

ROW_INCHES = 1.05
HALVES = {"sft_half": ("SFT half", SKY, -0.14), "rl_half": ("RL half", ORANGE, 0.14)}
UNITS = {
    "error recovery": "trajectories with one, %",
    "repeated actions": "of a trajectory's actions, %",
    "search": "of a trajectory's actions, %",
    "length": "actions",
}
NOTE = (
    "Means over the trajectories that the median split of each score sends to SFT and to RL, 95% bootstrap over "
    "trajectories. A behaviour that no trajectory of a corpus shows is left out."
)


def draw(tables: Sequence[Path], out: FigureFiles) -> None:
    """Draw a row a benchmark and backbone and a column a behaviour.

    Args:
        tables: ``appendix_b.csv``, a single file.

    Raises:
        BadInput: the table has no row.
    """
    table = read_rows(tables, "score a corpus whose trajectories differ")
    places = list(table.groupby(["benchmark", "backbone"], sort=False))
    figure, axes = new_figure(PAGE, 0.35 + ROW_INCHES * len(places), len(places), len(UNITS))
    for row, ((benchmark, backbone), block) in zip(axes, places, strict=True):
        for place, behaviour in zip(row, UNITS, strict=True):
            _draw_panel(place, block[block["behaviour"] == behaviour], list(dict.fromkeys(block["score"])))
            place.tick_params(labelleft=place is row[0])
        row[0].set_ylabel(f"{benchmark}\n{backbone}")
    for place, (behaviour, unit) in zip(axes[0], UNITS.items(), strict=True):
        place.set_title(f"{behaviour}\n{unit}")
    legend_above(figure, next(place for place in axes.flat if place.has_data()), "right")
    finish(figure, [NOTE], out)


def _draw_panel(axes: Axes, rows: pd.DataFrame, metrics: Sequence[str]) -> None:
    """One behaviour in one corpus: the scores from top to bottom, both halves of each."""
    rows_axis(axes, [METRIC_NAMES[metric] for metric in metrics])
    if rows.empty:
        axes.text(0.5, 0.5, "in none", ha="center", transform=axes.transAxes)
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
        return
    for half, (label, colour, shift) in HALVES.items():
        ends = {half: "value", f"{half}_low": "value_low", f"{half}_high": "value_high"}
        found = rows[list(ends)].rename(columns=ends)
        draw_intervals(axes, found, np.arange(len(rows)) + shift, label=label, color=colour, marker="o")
