"""Appendix G: does dividing the norms by the square root of the parameter count change who is routed where?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from prism.core.concentration import PAPER_METRICS as METRICS
from prism.core.csv_files import Table, read_table, write_table
from prism.core.errors import BadInput
from prism.core.results import Results
from prism.core.splits import split_by_quantile
from prism.stages.tables import scale_note

COLUMNS = (
    "benchmark",
    "backbone",
    "metric",
    "trajectories",
    "spearman",
    "rerouted_percent",
    "paper_spearman",
    "claim_holds",
)
PAPER_SPEARMAN = 0.99
RL_PERCENT = 50


def compute_sensitivity(scores: Sequence[str | Path], scale: str, out_csv: str | Path) -> None:
    """Write one line a (benchmark, backbone, metric): raw against normalised norms.

    Args:
        scores: score tables, named ``.../{benchmark}/{backbone}.csv``.
        out_csv: ``spearman`` is the rank correlation of the raw and the normalised score, ``rerouted_percent`` the
            share of trajectories that a median split sends to the other side, ``claim_holds`` whether the paper's
            rho > 0.99 is met.

    Raises:
        BadInput: a table has fewer than three trajectories, or lacks a column.
    """
    rows = []
    for path in map(Path, scores):
        table = read_table(path)
        if len(table.rows) < 3:
            raise BadInput(path, "has fewer than three trajectories: no rank correlation", "score more of them")
        rows += [[*Results.probed(path), metric, *_compare(table, metric)] for metric in METRICS]
    head = [
        f"Appendix G: raw Frobenius norms against norms / sqrt(parameter count). {scale_note(scale)}",
        f"rerouted_percent: trajectories that a {RL_PERCENT}% split routes differently",
        f"paper: Spearman's rho > {PAPER_SPEARMAN} on both benchmarks; but scaling a subset of the norms does change "
        "a Gini coefficient, contrary to the appendix",
    ]
    write_table(out_csv, head, COLUMNS, rows)


def _compare(table: Table, metric: str) -> list:
    raw, normalised = table.numbers(metric), table.numbers(f"{metric}_normalised")
    correlation = float(spearmanr(raw, normalised).statistic)
    before, after = (np.array(split_by_quantile(values, RL_PERCENT).regimes) for values in (raw, normalised))
    rerouted = 100 * float((before != after).mean())
    holds = "yes" if correlation > PAPER_SPEARMAN else "no"
    return [len(raw), f"{correlation:.4f}", f"{rerouted:.2f}", f"> {PAPER_SPEARMAN}", holds]
