"""The paired tests behind a table: every method against its references, on the same tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.core.comparisons import ALPHA, compare, holm
from prism.core.errors import BadInput
from prism.core.evaluations import read_seeds, value_matrix
from prism.core.files import sha256_file, write_text
from prism.core.paper_tables import TABLES
from prism.core.progress import say
from prism.stages.tables.cellfiles import REBUILD, read_rows
from prism.stages.tables.notes import scale_note

IN_POINTS = ("difference", "low", "high", "detectable")


def write_tests(table: str, cells: Iterable[Path], scale: str, out_csv: Path) -> None:
    """Write one row a (group, column, method, reference): difference in points, interval, test, p and Holm's p.

    Raises:
        BadInput: a cell or one of its evaluations is missing or has changed since, or two methods were not evaluated
            on the same panel with the same number of seeds.
    """
    frame = build_tests(table, cells, scale)
    head = (
        f"# Paired tests behind Table {table.removeprefix('table')}, in points of percent. {scale_note(scale)}\n"
        f"# method against reference on the same tasks; p_holm: Holm over the methods of a (column, reference); "
        f"significant: p_holm < {ALPHA:g}\n"
        "# improvement: probability that a run of the method does better on a task than a run of the reference, ties "
        "counting half; detectable: smallest true difference that this test finds with power 0.8, given the spread "
        "seen\n"
    )
    write_text(out_csv, head + frame.to_csv(index=False, lineterminator="\n"))
    say(f"{table}: {len(frame)} paired tests, {int((frame['significant'] == 'yes').sum())} significant")


def build_tests(table: str, cells: Iterable[Path], scale: str) -> pd.DataFrame:
    """The tests as a frame; numbers are rounded as they are written."""
    layout = TABLES[table]
    groups: dict[tuple[str, ...], dict[str, dict[str, np.ndarray]]] = {}
    panels: dict[tuple[str, ...], str] = {}
    for row, by_column in read_rows(table, cells, scale, layout.tested).items():
        *group, method = row
        for column in (name for name in layout.tested if name in by_column):
            cell = by_column[column]
            key = (*group, column)
            if panels.setdefault(key, cell["panel_sha256"]) != cell["panel_sha256"]:
                raise BadInput(f"{table} {'/'.join(row)}", "was evaluated on another panel than the rest", REBUILD)
            groups.setdefault(tuple(group), {}).setdefault(column, {})[method] = _values(table, column, cell)
    rows = []
    for group, by_column in groups.items():
        for column in (name for name in layout.columns if name in by_column):
            named = {**dict(zip(layout.row, group, strict=False)), "column": column}
            rows += [{**named, **test} for test in _tests_of_column(by_column[column], layout.references)]
    columns = [*layout.row[:-1], "column", *TEST_COLUMNS]
    return pd.DataFrame(rows, columns=columns)


TEST_COLUMNS = ("method", "reference", "tasks", "seeds", "difference", "low", "high", "better", "worse", "test", "p",
                "p_holm", "significant", "improvement", "detectable")  # fmt: skip


def _tests_of_column(values: dict[str, np.ndarray], references: Sequence[str]) -> list[dict[str, Any]]:
    """All methods against each reference that is among them; Holm over the methods of one reference."""
    tests: list[dict[str, Any]] = []
    for reference in (name for name in references if name in values):
        family = []
        for method in (name for name in values if name != reference):
            if values[method].shape != values[reference].shape:
                raise BadInput(f"{method} and {reference}", "have not the same seeds", "rebuild the evaluations")
            comparison = asdict(compare(values[method], values[reference]))
            seeds, tasks = values[method].shape
            family.append({"method": method, "reference": reference, "tasks": tasks, "seeds": seeds, **comparison})
        for test, adjusted in zip(family, holm([test["p"] for test in family]), strict=True):
            tests.append(_rounded({**test, "p_holm": adjusted, "significant": "yes" if adjusted < ALPHA else "no"}))
    return tests


def _rounded(test: dict[str, Any]) -> dict[str, Any]:
    points = {key: None if test[key] is None else round(100 * test[key], 2) for key in IN_POINTS}
    p_values = {key: float(f"{test[key]:.4g}") for key in ("p", "p_holm")}
    return {**test, **points, **p_values, "improvement": round(test["improvement"], 4)}


def _values(table: str, column: str, cell: dict[str, Any]) -> np.ndarray:
    """Values of a cell's episodes, shape (seeds, tasks), from its evaluation files as they were."""
    for source in cell["evaluations"]:
        path = Path(source["path"])
        if not path.is_file() or sha256_file(path) != source["sha256"]:
            raise BadInput(path, "is not the evaluation that its cell was made from", "rebuild the cells")
    runs = read_seeds([Path(source["path"]) for source in cell["evaluations"]])
    return value_matrix(runs, TABLES[table].measures[column])
