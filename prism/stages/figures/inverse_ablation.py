"""Figure 3, inverse ablation: PRISM's routing against the same routing with its sides swapped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from prism.core.errors import BadInput
from prism.stages.figures.evaluations import INTERVAL_NOTE, EvaluationFolder, estimate
from prism.stages.figures.style import (
    BLUE,
    COLUMN,
    GREY,
    METRIC_NAMES,
    ORANGE,
    finish,
    new_figure,
    panel_title,
    percent_axis,
)

ROUTED, SWAPPED, REFERENCE = "prism", "inverse", "random"
ROW_INCHES = 1.4
BAR_WIDTH = 0.42
VALUE_SIZE = 4.5
# keeps a value readable where the line of random runs through it
VALUE_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4}
MEASURES = {"score": "average score", "sr": "success rate"}


def draw_inverse_ablation(
    evaluations: EvaluationFolder,
    backbones: Sequence[str],
    methods: Sequence[str],
    scale: str,
    out_svg: Path,
    out_png: Path,
) -> None:
    """Draw a row a backbone: PRISM and inverse side by side for every metric, random as a dashed line.

    Left the average score, right the success rate.

    Args:
        methods: ``prism-{metric}`` and ``inverse-{metric}`` for every metric, and ``random``.

    Raises:
        BadInput: a metric lacks one of its two methods, random is missing, or a file is not an evaluation.
    """
    metrics = _paired_metrics(methods)
    rows = len(backbones)
    figure, axes = new_figure(COLUMN, 0.35 + ROW_INCHES * rows, rows, len(MEASURES), sharey=True)
    for row, backbone in zip(axes, backbones, strict=True):
        for panel, measure in zip(row, MEASURES, strict=True):
            _draw_panel(panel, evaluations, backbone, metrics, measure)
            percent_axis(panel, f"{backbone}\npercent" if panel is row[0] else "")
    for panel, title in zip(axes[0], MEASURES.values(), strict=True):
        panel_title(panel, title)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, columnspacing=1.0, handlelength=1.6)
    sample = estimate(evaluations.files(backbones[0], REFERENCE), "sr")
    notes = [
        "PRISM: SFT on the low-conflict half, RL on the high-conflict half; inverse: the halves swapped. "
        f"{INTERVAL_NOTE} Grey band: that of random. {sample.tasks} tasks, {sample.seeds} seed(s)."
    ]
    finish(figure, notes, scale, out_svg, out_png)


def _paired_metrics(methods: Sequence[str]) -> list[str]:
    """Metrics in the order of their methods."""
    prefix = f"{ROUTED}-"
    metrics = [method.removeprefix(prefix) for method in methods if method.startswith(prefix)]
    for wanted in (*(f"{SWAPPED}-{metric}" for metric in metrics), REFERENCE):
        if wanted not in methods:
            raise BadInput("--methods", f"{wanted!r} is missing", "give prism-X with inverse-X, and random")
    if not metrics:
        raise BadInput("--methods", "no method of the form prism-X", "give prism-X with inverse-X, and random")
    return metrics


def _draw_panel(axes: Axes, evaluations: EvaluationFolder, backbone: str, metrics: Sequence[str], measure: str) -> None:
    for side, label, colour, hatch in ((-1, "PRISM", ORANGE, ""), (1, "inverse", BLUE, "////")):
        method = ROUTED if side < 0 else SWAPPED
        estimates = [estimate(evaluations.files(backbone, f"{method}-{metric}"), measure) for metric in metrics]
        places = [place + side * BAR_WIDTH / 2 for place in range(len(metrics))]
        axes.bar(
            places,
            [found.value for found in estimates],
            BAR_WIDTH,
            yerr=list(zip(*(found.error for found in estimates), strict=True)),
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
    random = estimate(evaluations.files(backbone, REFERENCE), measure)
    axes.axhspan(random.low, random.high, color=GREY, alpha=0.12, linewidth=0, zorder=0)
    axes.axhline(random.value, color="black", linestyle="--", linewidth=0.9, label="random")
    axes.set_xticks(range(len(metrics)), [METRIC_NAMES.get(metric, metric) for metric in metrics])
    axes.tick_params(axis="x", length=0)
