"""Figure 5, consensus: how far the three metrics agree on the high-conflict half, beside norms without a signal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib_venn import venn3

from prism.core.consensus import METRICS, Consensus
from prism.core.results import Results
from prism.stages.consensus import read_consensus
from prism.stages.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    LABEL_SIZE,
    METRIC_NAMES,
    ORANGE,
    PAGE,
    SKY,
    TEXT_SIZE,
    VERMILION,
    FigureFiles,
    finish,
    legend_above,
    new_figure,
)

ROW_INCHES, LEGEND_INCHES = 1.75, 0.3
BIN_PERCENT = 1.0
NOTE = (
    "Left: trajectories that each metric places above its median. Right: their common part in percent of a half, in "
    "this run and for 499 permutations of the same norms (each matrix's column over the trajectories), in which "
    "nothing of a trajectory is left: scaled to one geometric mean a trajectory before, or as they are. The paper says "
    "about 60% and does not say of what."
)


def draw(consensus: Sequence[Path], out: FigureFiles) -> None:
    """Draw, a row a benchmark and backbone, the overlap of the three halves and the null of it.

    Args:
        consensus: of one or several probes, ``.../{benchmark}/{backbone}.json``.
    """
    figure, axes = new_figure(
        PAGE, LEGEND_INCHES + ROW_INCHES * len(consensus), len(consensus), 2, gridspec_kw={"width_ratios": (1, 1.7)}
    )
    for (left, right), path in zip(axes, consensus, strict=True):
        found, place = read_consensus(path), ", ".join(Results.probed(path))
        _draw_halves(left, found.consensus, f"{place}\n{found.trajectories} trajectories, {found.matrices} matrices")
        _draw_null(right, found.consensus, found.raw_null)
    bounds = [edge for row in axes for edge in row[1].get_xlim()]
    for row in axes:
        row[1].set_xlim(min(bounds), max(bounds))
    axes[-1, 1].set_xlabel("in all three halves, percent of a half")
    legend_above(figure, axes[0, 1], "right")
    finish(figure, [NOTE], out)


def _draw_halves(axes: Axes, consensus: Consensus, title: str) -> None:
    halves = [set(np.flatnonzero(half).tolist()) for half in consensus.halves]
    venn = venn3(halves, [METRIC_NAMES[metric] for metric in METRICS], (BLUE, ORANGE, GREEN), 0.5, ax=axes)
    for label in filter(None, venn.set_labels):
        label.set_fontsize(TEXT_SIZE)
    for label in filter(None, venn.subset_labels):
        label.set_fontsize(LABEL_SIZE)
    axes.set_title(title)


def _draw_null(axes: Axes, consensus: Consensus, raw: np.ndarray) -> None:
    """Histograms of both nulls, and what was seen as a line."""
    values = np.concatenate([consensus.null, raw, [consensus.of_half]])
    edges = np.arange(np.floor(values.min()) - BIN_PERCENT, np.ceil(values.max()) + 2 * BIN_PERCENT, BIN_PERCENT)
    axes.hist(consensus.null, edges, color=SKY, label="permuted, scaled")
    axes.hist(raw, edges, histtype="step", color=BLACK, linewidth=0.8, label="permuted as they are")
    axes.axvline(consensus.of_half, color=VERMILION, label="this run")
    axes.set_ylabel("permutations")
    axes.set_title(
        f"{consensus.common} of {consensus.half}: {consensus.of_half:.0f}% of a half, {consensus.of_union:.0f}% of the "
        f"union; p = {consensus.p:.2g}",
        loc="left",
    )
