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


def typical_trajectories(path: Path) -> tuple[str, str]:
    """Ids of the middle trajectory of each half of the median split by Gini, first that of the SFT half; ties by id.

    The extremes of a corpus are its outliers, often its shortest and its longest trajectory; what a half holds shows
    in its middle.

    Raises:
        BadInput: all trajectories have the same Gini coefficient: none goes to RL.
    """
    ordered = read_scores(path).sort_values(["gini", "id"])
    sides = ordered["gini"] > ordered["gini"].median()
    if not sides.any():
        raise BadInput(path, "all Gini coefficients are equal: there is no RL half", "score trajectories that differ")
    sft, rl = (ordered["id"][sides == side] for side in (False, True))
    return sft.iloc[len(sft) // 2], rl.iloc[len(rl) // 2]
