"""Distributions of the scores with the median, where the corpus is parted into SFT and RL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from prism.core.errors import BadInput
from prism.stages.figures.scores_file import METRICS, read_scores
from prism.stages.figures.style import (
    BLACK,
    METRIC_NAMES,
    ORANGE,
    PAGE,
    SKY,
    FigureFiles,
    finish,
    legend_above,
    new_figure,
)

BINS = 30
ROW_INCHES = 1.35


def draw(scores: Sequence[Path], backbones: Sequence[str], out: FigureFiles) -> None:
    """Draw a histogram a metric (columns) and score table (rows), the median as a line.

    Args:
        backbones: what each score table is of, for the rows.

    Raises:
        BadInput: a table is not a score table, or there is not one backbone a table.
    """
    if len(backbones) != len(scores):
        raise BadInput("--scores", f"{len(scores)} score tables for {len(backbones)} backbones", "give one a backbone")
    figure, axes = new_figure(PAGE, 0.45 + ROW_INCHES * len(scores), len(scores), len(METRICS))
    for row, (path, name) in enumerate(zip(scores, backbones, strict=True)):
        table = read_scores(path)
        for column, metric in enumerate(METRICS):
            _draw_histogram(axes[row, column], table[metric])
            axes[-1, column].set_xlabel(METRIC_NAMES[metric])
        axes[row, 0].set_ylabel(f"{name}\ntrajectories")
    legend_above(figure, axes[0, 0])
    notes = [
        f"{BINS} equal bins over each metric's range. The line is the median: trajectories at or below it go to SFT, "
        "those above it to RL (eq. 2-3)."
    ]
    finish(figure, notes, out)


def _draw_histogram(axes: Axes, values: pd.Series) -> None:
    median = values.median()
    edges = np.histogram_bin_edges(values, BINS)
    parts = [values[values <= median], values[values > median]]
    axes.hist(
        parts,
        edges,
        stacked=True,
        color=(SKY, ORANGE),
        label=("low-conflict half, to SFT", "high-conflict half, to RL"),
        edgecolor="white",
        linewidth=0.2,
    )
    axes.axvline(median, color=BLACK, linewidth=1, label="median")
    axes.set_title(f"median {median:.3g}", loc="right", fontsize=6)
