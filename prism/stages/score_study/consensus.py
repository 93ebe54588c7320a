"""Figure 5 in numbers: how far the three metrics agree, over both denominators, and on norms without a signal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from prism.core.results import Results
from prism.stages.consensus import read_consensus
from prism.stages.score_study.frames import Study

COLUMNS = (
    *("benchmark", "backbone", "matrices", "trajectories", "common", "half", "union", "of_half", "of_union"),
    *("null", "null_low", "null_high", "p", "raw_null", "raw_null_low", "raw_null_high"),
)
NOTES = [
    "common: trajectories that Gini, kurtosis and CV all place above their medians; half: above one median; union: "
    "above any; of_half and of_union: common in percent of these two",
    "null: of_half when every matrix's column of norms is permuted over the trajectories, each trajectory scaled to a "
    "geometric mean of 1 before: median and central 95% of 499 permutations; p: one-sided. raw_null: the same without "
    "scaling, which mixes large and small trajectories",
    "the paper: about 60%, denominator not stated, against 12.5 to 25% for independent halves",
]


def study(consensus: Sequence[Path]) -> Study:
    """One row a (benchmark, backbone), which the path of its file names."""
    rows = []
    for path in consensus:
        measured = read_consensus(path)
        found = measured.consensus
        sizes = [measured.matrices, measured.trajectories, found.common, found.half, found.union]
        shares = [found.of_half, found.of_union, *_range(found.null), found.p, *_range(measured.raw_null)]
        rows.append([*Results.probed(path), *sizes, *shares])
    return Study(COLUMNS, rows, NOTES, {"": _shown(rows)})


def _range(null: np.ndarray) -> list[float]:
    low, middle, high = np.quantile(null, (0.025, 0.5, 0.975))
    return [float(middle), float(low), float(high)]


def _shown(rows: Sequence[Sequence]) -> pd.DataFrame:
    lines = []
    for row in rows:
        found = dict(zip(COLUMNS, row, strict=True))
        ranges = [
            f"{found[name]:.0f}% [{found[f'{name}_low']:.0f}, {found[f'{name}_high']:.0f}]"
            for name in ("null", "raw_null")
        ]
        shares = [f"{found[name]:.0f}%" for name in ("of_half", "of_union")]
        sizes = [f"{found['trajectories']} x {found['matrices']}", f"{found['common']} of {found['half']}"]
        lines.append([found["benchmark"], found["backbone"], *sizes, *shares, *ranges, f"{found['p']:.2g}"])
    heads = ["benchmark", "backbone", "trajectories x matrices", "in all three", "of a half", "of the union"]
    return pd.DataFrame(lines, columns=[*heads, "permuted norms", "permuted, not scaled", "p"])
