"""The score table as the figures read it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prism.core.concentration import PAPER_METRICS as METRICS
from prism.core.csv_files import read_frame
from prism.core.errors import BadInput


def read_scores(path: Path) -> pd.DataFrame:
    """The score table of one (benchmark, backbone).

    Raises:
        BadInput: the file is no table, has no row, or lacks the id or a metric.
    """
    _, table = read_frame(path, texts=["id"])
    for column in ("id", *METRICS):
        if column not in table:
            raise BadInput(path, f"column {column!r} is missing", "rebuild it with its rule")
    if table.empty:
        raise BadInput(path, "holds no trajectory", "rebuild it with its rule")
    return table


def extreme_trajectories(path: Path) -> tuple[str, str]:
    """Ids of the trajectories of lowest and highest Gini; ties go by id."""
    ordered = read_scores(path).sort_values(["gini", "id"])["id"]
    return ordered.iloc[0], ordered.iloc[-1]
