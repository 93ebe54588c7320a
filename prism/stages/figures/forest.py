"""Forest plot: every method of the tables with its interval, and the paper's own value beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from prism.core.csv_files import read_frame
from prism.core.errors import BadInput
from prism.stages.figures.style import BLUE, LABEL_SIZE, PAGE, VERMILION, FigureFiles, finish, new_figure, panel_title

ROW_INCHES = 0.17
PANELS_A_ROW = 2
# the rates that tables report with an interval: column, name
MEASURES = {"all": "success rate, %", "sr": "success rate, %", "score": "average score, %"}
# the columns that tell the blocks of a table apart
BLOCKS = ("benchmark", "split", "backbone")


@dataclass(frozen=True)
class Panel:
    """One block of a table: a rate of all its methods.

    Attributes:
        rows: columns ``method``, ``value``, ``low``, ``high`` and ``paper``.
    """

    title: str
    measure: str
    rows: pd.DataFrame


def draw(tables: Sequence[Path], out: FigureFiles) -> None:
    """Draw a panel a block of the tables: its methods from top to bottom, their rates with 95% intervals.

    Args:
        tables: tables with a column ``method`` and at least one rate ``X`` with ``X_low`` and ``X_high``.

    Raises:
        BadInput: a table is missing or reports no rate with an interval.
    """
    panels = [panel for path in tables for panel in _read_panels(path)]
    columns = min(PANELS_A_ROW, len(panels))
    rows = -(-len(panels) // columns)
    tallest = max(len(panel.rows) for panel in panels)
    height = 0.3 + rows * (0.55 + ROW_INCHES * tallest)
    figure, axes = new_figure(PAGE, height, rows, columns)
    for place, panel in zip(axes.flat, panels, strict=False):
        _draw_panel(place, panel)
    for place in list(axes.flat)[len(panels) :]:
        place.axis("off")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    # ours first, whatever matplotlib's order of artists
    entries = sorted(zip(labels, handles, strict=True), key=lambda entry: entry[0])
    figure.legend([handle for _, handle in entries], [label for label, _ in entries], loc="outside upper left", ncols=2)
    finish(figure, ["Open diamonds: the paper's value for its 8B backbone, for orientation only."], out)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    places = range(len(panel.rows))
    rows = panel.rows
    value, low, high, paper = (rows[name].to_numpy(float) for name in ("value", "low", "high", "paper"))
    errors = [(value - low).clip(min=0), (high - value).clip(min=0)]
    axes.errorbar(
        value,
        places,
        xerr=errors,
        fmt="o",
        color=BLUE,
        capsize=2,
        elinewidth=1,
        label="here, with 95% interval",
    )
    if not np.isnan(paper).all():
        axes.plot(paper, places, "D", markersize=3, markerfacecolor="none", color=VERMILION, label="paper")
    axes.set_yticks(places, rows["method"])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-2, 102)
    axes.set_xlabel(panel.measure, fontsize=LABEL_SIZE)
    axes.grid(axis="x", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    panel_title(axes, panel.title)


def _read_panels(path: Path) -> list[Panel]:
    _, table = read_frame(path, texts=["method"])
    measures = [name for name in MEASURES if {name, f"{name}_low", f"{name}_high"} <= set(table.columns)]
    if not measures or "method" not in table or table.empty:
        raise BadInput(path, "reports no rate with an interval", "build it with its rule")
    keys = [name for name in BLOCKS if name in table and table[name].nunique() > 1] or ["method"]
    blocks = table.groupby(keys, sort=False) if keys != ["method"] else [((path.stem,), table)]
    panels = []
    for names, block in blocks:
        for measure in measures:
            rows = pd.DataFrame(
                {
                    "method": block["method"],
                    "value": block[measure],
                    "low": block[f"{measure}_low"],
                    "high": block[f"{measure}_high"],
                    "paper": block.get(f"paper_{measure}", pd.Series(float("nan"), block.index)),
                }
            )
            title = f"{_table_name(path)}, {', '.join(map(str, names))}"
            panels.append(Panel(title, MEASURES[measure], rows))
    return panels


def _table_name(path: Path) -> str:
    """``Table 1`` for table1.csv."""
    stem = Path(path).stem
    return stem.replace("table", "Table ") if stem.startswith("table") else stem
