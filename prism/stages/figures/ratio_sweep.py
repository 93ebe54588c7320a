"""Figure 4, ratio sweep: what becomes of score and success rate when more of the corpus goes to RL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prism.core.errors import BadInput
from prism.stages.figures.evaluations import INTERVAL_NOTE, EvaluationFolder, estimate
from prism.stages.figures.style import BLUE, COLUMN, VERMILION, finish, new_figure, panel_title, percent_axis

HEIGHT = 2.0


def draw_ratio_sweep(
    evaluations: EvaluationFolder,
    backbone: str,
    methods: Sequence[str],
    shares: Sequence[int],
    scale: str,
    out_svg: Path,
    out_png: Path,
) -> None:
    """Draw average score and success rate over the RL share, with intervals.

    Args:
        shares: percent of the corpus that RL sees, one a method.

    Raises:
        BadInput: there is not one share a method, or a file is not an evaluation.
    """
    if len(shares) != len(methods):
        raise BadInput("--shares", f"{len(shares)} shares for {len(methods)} methods", "give one share a method")
    points = sorted(zip(shares, methods, strict=True))
    figure, axes = new_figure(COLUMN, HEIGHT)
    panel = axes[0, 0]
    for measure, label, colour, marker, shift in (
        ("score", "average score", BLUE, "o", -0.6),
        ("sr", "success rate", VERMILION, "s", 0.6),
    ):
        estimates = [estimate(evaluations.files(backbone, method), measure) for _, method in points]
        panel.errorbar(
            [share + shift for share, _ in points],
            [found.value for found in estimates],
            yerr=list(zip(*(found.error for found in estimates), strict=True)),
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
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    notes = [f"{INTERVAL_NOTE} {estimates[0].tasks} tasks, {estimates[0].seeds} seed(s)."]
    finish(figure, notes, scale, out_svg, out_png)
