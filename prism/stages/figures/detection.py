"""The positive control: how well each score finds the detours of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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

SCORE_INCHES, PANEL_INCHES = 0.17, 0.5
MEASURES = {"auc": "all pairs", "auc_in_length": "pairs of equal length"}
NOTE = (
    "Probability that a detour has the higher score of a detour and another trajectory, 95% bootstrap over "
    "trajectories. 0.5: the score does not tell them apart."
)


def draw(tables: Sequence[Path], out: FigureFiles) -> None:
    """Draw a panel a benchmark and backbone, a row a score.

    Args:
        tables: ``detection.csv``, a single file.

    Raises:
        BadInput: the table has no row.
    """
    table = read_rows(tables)
    places = list(table.groupby(["benchmark", "backbone"], sort=False))
    scores = list(dict.fromkeys(table["score"]))
    height = PANEL_INCHES + SCORE_INCHES * len(scores)
    figure, axes = new_figure(PAGE, 0.3 + height, 1, len(places), sharex=True, sharey=True)
    for place, ((benchmark, backbone), block) in zip(axes[0], places, strict=True):
        place.axvline(0.5, color=GREY, linewidth=0.6)
        draw_measures(place, block, "score", scores, MEASURES)
        rows_axis(place, [METRIC_NAMES.get(name, name.replace("_", " ")) for name in scores])
        place.set(xlim=(-0.03, 1.03), xlabel="area under the curve", title=f"{benchmark}, {backbone}")
    legend_above(figure, axes[0, 0])
    finish(figure, [NOTE], out)
