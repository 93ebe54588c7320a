"""What the scores go together with: rank correlations with their intervals, plain and given the other factors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from prism.stages.figures.style import (
    GREY,
    METRIC_NAMES,
    PAGE,
    FigureFiles,
    draw_measures,
    finish,
    legend_above,
    new_figure,
    read_rows,
    rows_axis,
)

FACTOR_INCHES, PANEL_INCHES = 0.19, 0.62
MEASURES = {"spearman": "plain", "partial": "given the other factors"}
NOTE = (
    "Spearman's rank correlation of a score (columns) with what else is known of a trajectory, 95% bootstrap over "
    "trajectories. In the titles: percent of the variance of the score's ranks that lies between task types, less what "
    "chance puts there."
)


def draw(tables: Sequence[Path], out: FigureFiles) -> None:
    """Draw a row a benchmark and backbone and a column a score.

    Args:
        tables: ``score_correlates.csv``, a single file.

    Raises:
        BadInput: the table has no row.
    """
    table = read_rows(tables)
    places = list(table.groupby(["benchmark", "backbone"], sort=False))
    metrics = list(dict.fromkeys(table["score"]))
    shown = table[table["measure"].isin(MEASURES)]
    heights = [
        PANEL_INCHES + FACTOR_INCHES * block["factor"].nunique()
        for _, block in shown.groupby(["benchmark", "backbone"], sort=False)
    ]
    figure, axes = new_figure(PAGE, 0.3 + sum(heights), len(places), len(metrics), sharex=True, height_ratios=heights)
    for row, ((benchmark, backbone), block) in zip(axes, places, strict=True):
        for place, metric in zip(row, metrics, strict=True):
            _draw_panel(place, block[block["score"] == metric])
            place.set_title(f"{METRIC_NAMES[metric]}, task type {_explained(block, metric)}")
            place.tick_params(labelleft=place is row[0])
        row[0].set_ylabel(f"{benchmark}\n{backbone}")
    for place in axes[-1]:
        place.set_xlabel("rank correlation")
    legend_above(figure, axes[0, 0])
    finish(figure, [NOTE], out)


def _draw_panel(axes: Axes, rows: pd.DataFrame) -> None:
    """One score on one corpus: factors from top to bottom."""
    factors = list(dict.fromkeys(rows[rows["measure"].isin(MEASURES)]["factor"]))
    axes.axvline(0, color=GREY, linewidth=0.6)
    draw_measures(axes, rows, "factor", factors, MEASURES)
    rows_axis(axes, factors)
    axes.set_xlim(-1.05, 1.05)


def _explained(block: pd.DataFrame, metric: str) -> str:
    found = block[(block["score"] == metric) & (block["measure"] == "explained")]["value"]
    return f"{max(float(found.iloc[0]), 0):.0f}%" if len(found) else "alike"
