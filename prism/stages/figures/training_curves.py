"""Training curves: what every RL run reports of itself, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from prism.core.csv_files import read_frame
from prism.core.errors import BadInput
from prism.stages.figures.style import MARKERS, PAGE, SERIES, FigureFiles, finish, new_figure, panel_title

METRICS_FILE = "metrics.csv"
PANELS_A_ROW, LEGEND_COLUMNS = 3, 5
ROW_INCHES = 1.45
# longer runs are drawn as plain lines
MOST_MARKED_STEPS = 12
NO_DATA = "not recorded"


@dataclass(frozen=True)
class Curve:
    """One panel: a column of the metrics, and the factor to the unit of its title."""

    column: str
    title: str
    factor: float = 1.0


CURVES = (
    Curve("success_rate", "success rate, %", 100),
    Curve("reward_mean", "reward of an episode"),
    Curve("episode_steps", "steps of an episode"),
    Curve("invalid_share", "invalid actions, %", 100),
    Curve("kl_to_old_policy", "KL to the sampling policy, nats"),
    Curve("entropy", "entropy of a token, nats"),
)


def draw(runs: Sequence[Path], names: Sequence[str], out: FigureFiles) -> None:
    """Draw success, reward, length, invalid share, KL and entropy over the steps, a line a name.

    Runs of one name are the seeds of one method: their mean is the line, their range the band. A column that a run
    did not record is left out of its panel; a panel without any line says so.

    Args:
        runs: folders of RL runs, each with a ``metrics.csv``.
        names: what to call them.

    Raises:
        BadInput: a run has no readable metrics, or there is not one name a run.
    """
    if len(names) != len(runs):
        raise BadInput("--runs", f"{len(runs)} runs for {len(names)} names", "give one a name")
    groups: dict[str, list[pd.DataFrame]] = {}
    for run, name in zip(runs, names, strict=True):
        groups.setdefault(name, []).append(_read_metrics(Path(run) / METRICS_FILE))
    rows = -(-len(CURVES) // PANELS_A_ROW)
    legend_rows = -(-len(groups) // LEGEND_COLUMNS)
    figure, axes = new_figure(PAGE, 0.2 + 0.15 * legend_rows + ROW_INCHES * rows, rows, PANELS_A_ROW)
    for panel, curve in zip(axes.flat, CURVES, strict=False):
        _draw_curve(panel, curve, groups)
    for panel in axes[-1]:
        panel.set_xlabel("RL step")
    handles, labels = _legend_entries(axes.flat)
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=LEGEND_COLUMNS)
    notes = ["Means over the episodes (KL and entropy: over the tokens) of one step, as the run recorded them."]
    if len(runs) > len(groups):
        notes.append("Lines: mean of the seeds; bands: from the lowest to the highest seed.")
    finish(figure, notes, out)


def _draw_curve(axes: Axes, curve: Curve, groups: Mapping[str, Sequence[pd.DataFrame]]) -> None:
    panel_title(axes, curve.title)
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    drawn = False
    last_step = 1
    for index, (name, tables) in enumerate(groups.items()):
        recorded = [table[["step", curve.column]].dropna() for table in tables if curve.column in table]
        values = pd.concat(recorded) if recorded else pd.DataFrame()
        if values.empty:
            continue
        drawn = True
        last_step = max(last_step, int(values["step"].max()))
        seeds = curve.factor * values.groupby("step")[curve.column].agg(["mean", "min", "max"])
        colour = SERIES[index % len(SERIES)]
        style = ("-", "--", ":")[index // len(SERIES) % 3]
        marker = MARKERS[index % len(MARKERS)] if len(seeds) <= MOST_MARKED_STEPS else None
        axes.plot(seeds.index, seeds["mean"], color=colour, marker=marker, linestyle=style, label=name)
        if len(recorded) > 1:
            axes.fill_between(seeds.index, seeds["min"], seeds["max"], color=colour, alpha=0.15, linewidth=0)
    axes.set_xlim(0.5, last_step + 0.5)
    if not drawn:
        axes.text(0.5, 0.5, NO_DATA, ha="center", va="center", transform=axes.transAxes, color="0.5")
        axes.set_yticks([])


def _legend_entries(panels) -> tuple[list, list[str]]:
    """One entry a run: a run need not be drawn in every panel."""
    entries = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    return list(entries.values()), list(entries)


def _read_metrics(path: Path) -> pd.DataFrame:
    _, table = read_frame(path)
    if "step" not in table:
        raise BadInput(path, "column 'step' is missing", "run its RL job again")
    return table
