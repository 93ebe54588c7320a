"""What all figures share: size, colours, the note below, and files that repeat byte for byte."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prism.core.csv_files import read_frame
from prism.core.errors import BadInput
from prism.core.files import atomic_path
from prism.stages.tables.notes import scale_note

# inches: one column and the whole width of a two-column page
COLUMN, PAGE = 3.3, 6.9
# Okabe-Ito: told apart with every common form of colour blindness
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
# in the order in which they are given out; yellow is too pale for lines on white
SERIES = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "0.35"
# colour, mark and shift from the row's middle, of two measures of one thing
TWO_MEASURES = ((BLUE, "o", -0.15), (VERMILION, "D", 0.15))
METRIC_NAMES = {"gini": "Gini", "kurtosis": "Kurtosis", "cv": "CV", "l2": "L2 norm"}

NOTE_SIZE, LABEL_SIZE, TEXT_SIZE = 5.5, 6.5, 7
# letters of the note's size that fit into one inch
NOTE_LETTERS_PER_INCH = 23
NOTE_LINE_INCHES = 0.095
PNG_DPI = 300

plt.rcParams.update(
    {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
        "font.size": TEXT_SIZE,
        "axes.titlesize": TEXT_SIZE,
        "axes.labelsize": TEXT_SIZE,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.labelsize": LABEL_SIZE,
        "ytick.labelsize": LABEL_SIZE,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "legend.fontsize": LABEL_SIZE,
        "legend.frameon": False,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.5,
        "hatch.linewidth": 0.5,
        # the same data gives the same bytes, and text stays text
        "svg.hashsalt": "prism",
        "svg.fonttype": "none",
        # ids and names may hold dollar signs
        "text.parse_math": False,
    }
)


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    """A figure of `width` x `height` inches, note not counted, and its axes as an array [rows, columns]."""
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **options)


@dataclass(frozen=True)
class FigureFiles:
    """The two files of a figure, and the scale of the run, whose meaning stands below it."""

    svg: Path
    png: Path
    scale: str


def finish(figure: Figure, notes: Sequence[str], out: FigureFiles) -> None:
    """Put the notes and the scale's meaning below a figure and write both formats.

    The figure grows by the height of the note; nothing in the files depends on the time or the machine.
    """
    width, height = figure.get_size_inches()
    letters = int(width * NOTE_LETTERS_PER_INCH)
    lines = [line for note in (*notes, scale_note(out.scale)) for line in textwrap.wrap(note, letters)]
    figure.set_size_inches(width, height + len(lines) * NOTE_LINE_INCHES + 0.05)
    figure.supxlabel("\n".join(lines), fontsize=NOTE_SIZE, color=GREY, x=0.01, ha="left", linespacing=1.25)
    # laid out once, for both formats
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    save(figure, out.svg)
    save(figure, out.png, "png")
    plt.close(figure)


def save(figure: Figure, path: Path, form: str = "svg", dpi: int = PNG_DPI) -> None:
    """Write one format; no date and no version is in the file, so that the same data gives the same bytes."""
    with atomic_path(path) as temporary:
        if form == "svg":
            figure.savefig(temporary, format=form, metadata={"Date": None})
        else:
            figure.savefig(temporary, format=form, dpi=dpi, metadata={"Software": None})


def read_rows(tables: Sequence[Path], remedy: str = "score more trajectories") -> pd.DataFrame:
    """The table that a figure is drawn from, a single file.

    Raises:
        BadInput: it cannot be read, or has no row.
    """
    (path,) = tables
    _, table = read_frame(path)
    if table.empty:
        raise BadInput(path, "has no row", remedy)
    return table


def draw_intervals(axes: Axes, rows: pd.DataFrame, places: np.ndarray, **style: Any) -> None:
    """Estimates as marks with horizontal 95% intervals.

    Args:
        rows: columns ``value``, ``value_low`` and ``value_high``.
        places: where each row stands on the vertical axis.
    """
    values = rows["value"].to_numpy(float)
    errors = [values - rows["value_low"].to_numpy(float), rows["value_high"].to_numpy(float) - values]
    # a percentile interval need not hold its estimate
    axes.errorbar(values, places, xerr=np.maximum(errors, 0), linestyle="", elinewidth=0.9, **style)


def draw_measures(axes: Axes, rows: pd.DataFrame, kind: str, names: Sequence[str], labels: Mapping[str, str]) -> None:
    """Two measures of each of the named things, from top to bottom; one that was not measured is left out.

    Args:
        rows: columns ``measure``, those of `draw_intervals`, and the name of the thing.
        kind: the column of the name.
        labels: what the legend calls each measure.
    """
    for (measure, label), (colour, marker, shift) in zip(labels.items(), TWO_MEASURES, strict=True):
        found = rows[rows["measure"] == measure].set_index(kind)
        shown = [name for name in names if name in found.index]
        places = np.array([names.index(name) for name in shown]) + shift
        draw_intervals(axes, found.loc[shown], places, label=label, color=colour, marker=marker)


def panel_title(axes: Axes, text: str) -> None:
    """A bold title over the left edge."""
    axes.set_title(text, loc="left", fontweight="bold", fontsize=TEXT_SIZE)


def rows_axis(axes: Axes, names: Sequence[str], **text: Any) -> None:
    """A vertical axis of named rows from top to bottom, over light lines of the horizontal one."""
    axes.set_yticks(range(len(names)), names, **text)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", color="0.92", linewidth=0.5)
    axes.set_axisbelow(True)


def legend_above(figure: Figure, axes: Axes, side: str = "center", **style: Any) -> None:
    """What the marks of one panel mean, over all panels, in one line unless ``ncols`` says otherwise."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc=f"outside upper {side}", **{"ncols": len(labels), **style})


def percent_axis(axes: Axes, label: str) -> None:
    """A vertical axis in percent with light lines."""
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel(label)
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
