"""Cells: every number of a table as a file of its own, with what it was computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.core.csv_files import read_frame
from prism.core.errors import BadInput
from prism.core.evaluations import Evaluation, read_seeds, value_matrix
from prism.core.files import write_json
from prism.core.paper_tables import PAPER_BACKBONE, TABLES, TableLayout
from prism.core.progress import say
from prism.core.statistics import CONFIDENCE, estimate_mean

PAPER = "arXiv 2601.07224"


@dataclass(frozen=True)
class MethodDefinition:
    """A method's line of the config: the subset SFT sees, the subset RL sees, the RL algorithm; empty for none."""

    sft: str = ""
    rl: str = ""
    algorithm: str = ""


@dataclass(frozen=True)
class CellRecipe:
    """What the cells of one row share.

    Attributes:
        table: ``table1`` to ``table4``.
        row: the keys that name the row, ``{"split": "seen", "method": "sft"}``.
        backbone: the backbone that was trained.
        stands_for: the paper's backbone whose number stands beside ours.
        sft, rl: percent of the corpus that each phase saw, ``-`` for none.
        scale: scale of the run; the paper's value stands beside it and is never mixed in.
        columns: the columns to write; empty for all of the table.
        settings: further slices of the config that the cells rest on; recorded as they are.
    """

    table: str
    row: dict[str, str]
    backbone: str
    stands_for: str
    method: MethodDefinition
    sft: str
    rl: str
    scale: str
    columns: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.table not in TABLES:
            raise BadInput("table", f"unknown table {self.table!r}", f"use one of {', '.join(TABLES)}")
        if set(self.row) != set(self.layout.row):
            raise BadInput(
                f"{self.table}.row", f"is named by {', '.join(self.row)}", f"give {', '.join(self.layout.row)}"
            )
        for column in self.columns:
            if column not in self.layout.columns:
                known = ", ".join(self.layout.columns)
                raise BadInput(f"{self.table}.columns", f"unknown column {column!r}", f"use {known}")

    @property
    def layout(self) -> TableLayout:
        """The row's table."""
        return TABLES[self.table]

    @property
    def name(self) -> str:
        """The row in words."""
        return " ".join(self.row[key] for key in self.layout.row)

    @property
    def chosen_columns(self) -> tuple[str, ...]:
        """The columns to write."""
        return self.columns or tuple(self.layout.columns)


def write_evaluation_cells(recipe: CellRecipe, evaluations: Sequence[Path], paper_table: Path, out_dir: Path) -> None:
    """Write ``{out_dir}/{column}.json`` for one row of a table that is made of evaluations.

    Args:
        evaluations: one evaluation file a seed, all on the row's panel.

    Raises:
        BadInput: an evaluation is on another panel than the rest, or not an evaluation.
    """
    runs = read_seeds(evaluations)
    cells = {column: evaluation_cell(recipe, column, runs) for column in recipe.chosen_columns}
    write_cells(cells, PaperRow.read(recipe, paper_table), out_dir)
    column, last = list(cells.items())[-1]
    say(f"{recipe.name}: {column} {last['value']:.1f} of {last['episodes']} episodes")


def write_cells(cells: dict[str, dict[str, Any]], paper: PaperRow, out_dir: Path) -> None:
    """Write the cells of a row, by column, with the paper's values beside them."""
    for column, cell in cells.items():
        theirs = paper.beside(column)
        write_json(Path(out_dir) / f"{column}.json", {**cell, **theirs, "difference": _difference(cell, theirs)})


def evaluation_cell(recipe: CellRecipe, column: str, runs: Sequence[Evaluation]) -> dict[str, Any]:
    """A cell without the paper's value; a panel without the column's task type has no value."""
    measure = recipe.layout.measures[column]
    values = value_matrix(runs, measure)
    seeds = {str(run.seed): _estimate(values[index : index + 1]) for index, run in enumerate(runs)}
    first = runs[0]
    return {
        **cell_head(recipe, column, measure.unit),
        **_estimate(values),
        "tasks": values.shape[1],
        "seeds": seeds,
        "evaluations": [{"path": str(run.path), "sha256": run.sha256} for run in runs],
        "panel_sha256": first.panel_sha256,
        "config": {
            **config_slice(recipe),
            "panel": {
                "benchmark": first.benchmark,
                "name": first.panel,
                "sha256": first.panel_sha256,
                "tasks": len(first.task_ids),
            },
            "evaluation": first.recipe,
        },
    }


def cell_head(recipe: CellRecipe, column: str, unit: str) -> dict[str, Any]:
    """What names a cell, in every table."""
    return {
        "table": recipe.table,
        "row": recipe.row,
        "column": column,
        "unit": unit,
        "scale": recipe.scale,
        "backbone": recipe.backbone,
        "sft": recipe.sft,
        "rl": recipe.rl,
    }


def config_slice(recipe: CellRecipe) -> dict[str, Any]:
    """The part of the config that a cell rests on, as far as the rule knows it."""
    method = {
        key: value or None
        for key, value in (
            ("sft", recipe.method.sft),
            ("rl", recipe.method.rl),
            ("algorithm", recipe.method.algorithm),
        )
    }
    return {"method": method, **recipe.settings}


def _estimate(values: np.ndarray) -> dict[str, Any]:
    """Value and interval in percent, and number of episodes."""
    if not values.size:
        return {"value": None, "interval": None, "episodes": 0}
    estimate = estimate_mean(values)
    interval = {
        "low": 100 * estimate.low,
        "high": 100 * estimate.high,
        "level": CONFIDENCE,
        "method": estimate.method,
    }
    return {"value": 100 * estimate.value, "interval": interval, "episodes": values.size}


def _difference(cell: dict[str, Any], theirs: dict[str, Any]) -> float | None:
    """Ours minus the paper's."""
    ours, published = cell["value"], theirs["paper"]["value"]
    return None if ours is None or published is None else ours - published


@dataclass(frozen=True)
class PaperRow:
    """The paper's numbers for one row; a value that the paper does not give is None."""

    table: str
    backbone: str
    values: dict[str, float | None]

    @classmethod
    def read(cls, recipe: CellRecipe, paper_table: Path) -> PaperRow:
        """Find the row of `recipe` among the paper's values.

        Raises:
            BadInput: the file has not the table's columns.
        """
        layout = recipe.layout
        wanted = {**recipe.row}
        if "backbone" in wanted:
            wanted["backbone"] = recipe.stands_for
        try:
            _, table = read_frame(paper_table, missing=("-", ""))
            rows = table[np.logical_and.reduce([table[key] == value for key, value in wanted.items()])]
            missing = [name for name in layout.columns.values() if name and name not in table]
        except KeyError as error:
            raise BadInput(paper_table, f"is not the paper's {recipe.table} ({error})", "restore the file") from error
        if missing:
            raise BadInput(paper_table, f"has no column {missing[0]!r}", "restore the file")
        known = not rows.empty and ("backbone" in wanted or recipe.stands_for == PAPER_BACKBONE)
        values = {
            column: float(rows.iloc[0][name]) if known and name and pd.notna(rows.iloc[0][name]) else None
            for column, name in layout.columns.items()
        }
        return cls(recipe.table, recipe.stands_for, values)

    def beside(self, column: str) -> dict[str, Any]:
        """The entry ``paper`` of a cell."""
        source = f"{PAPER}, Table {self.table.removeprefix('table')}"
        return {"paper": {"value": self.values[column], "source": source, "backbone": self.backbone}}
