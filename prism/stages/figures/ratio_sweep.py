"""Figure 4, ratio sweep: what becomes of score and success rate when more of the corpus goes to RL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prism.stages.figures.evaluations import INTERVAL_NOTE, Evaluations
from prism.stages.figures.style import (
    BLUE,
    COLUMN,
    VERMILION,
    FigureFiles,
    finish,
    legend_above,
    new_figure,
    panel_title,
    percent_axis,
)

HEIGHT = 2.0


def draw(evaluations: Sequence[Path], backbones: Sequence[str], shares: Mapping[str, int], out: FigureFiles) -> None:
    """Draw average score and success rate over the RL share, with intervals.

    Args:
        backbones: a single one.
        shares: percent of the corpus that RL sees, by method.

    Raises:
        BadInput: a method has no evaluation, or a file is not one.
    """
    (backbone,), found = backbones, Evaluations(evaluations)
    points = sorted((share, method) for method, share in shares.items())
    figure, axes = new_figure(COLUMN, HEIGHT)
    panel = axes[0, 0]
    for measure, label, colour, marker, shift in (
        ("score", "average score", BLUE, "o", -0.6),
        ("sr", "success rate", VERMILION, "s", 0.6),
    ):
        estimates = [found.estimate(backbone, method, measure) for _, method in points]
        panel.errorbar(
            [share + shift for share, _ in points],
            [one.value for one in estimates],
            yerr=list(zip(*(one.errors for one in estimates), strict=True)),
            color=colour,
            marker=marker,
            label=label,
            capsize=2,
            elinewidth=0.8,
        )
    panel_title(panel, backbone)
    percent_axis(panel, "percent")
    panel.set_xticks([share for share, _ in points])
    panel.set_xlim(0, 100)
    panel.set_xlabel("share of the corpus that goes to RL, %")
    legend_above(figure, panel, ncols=2)
    notes = [f"{INTERVAL_NOTE} {found.size(backbone, points[0][1])}"]
    finish(figure, notes, out)
