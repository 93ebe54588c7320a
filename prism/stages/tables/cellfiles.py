"""A table's cells, read back and put in rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.files import read_json
from prism.core.paper_tables import TABLES

Cells = dict[str, dict[str, Any]]
REBUILD = "rebuild it with its rule"


def read_rows(
    table: str, paths: Iterable[Path], scale: str, columns: Sequence[str] | None = None
) -> dict[tuple[str, ...], Cells]:
    """Cells by row and column, rows in the order in which they come.

    Args:
        columns: what every row needs; by default all of the table's. Table 4 may have one benchmark only.

    Raises:
        BadInput: a file is not a cell of this table, was made at another scale, or a row lacks a cell.
    """
    layout = TABLES[table]
    rows: dict[tuple[str, ...], Cells] = {}
    for path in paths:
        cell = read_json(path)
        try:
            row, column = tuple(cell["row"][key] for key in layout.row), cell["column"]
        except (KeyError, TypeError) as error:
            raise BadInput(path, f"is not a cell of {table}", REBUILD) from error
        if cell.get("scale") != scale:
            raise BadInput(path, f"was made at scale {cell.get('scale')!r}, not {scale!r}", REBUILD)
        rows.setdefault(row, {})[column] = cell
    present = {column for cells in rows.values() for column in cells}
    wanted = columns or layout.columns
    if table == "table4":
        wanted = [column for column in wanted if column in present]
    for row, cells in rows.items():
        if missing := [column for column in wanted if column not in cells]:
            place = f"{table} {'/'.join(row)}"
            raise BadInput(place, f"cell {missing[0]!r} is missing", "rebuild the cells with their rule")
    return rows
