"""What a score goes together with, in sentences that follow from the table of correlates by fixed rules."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from prism.core.benchmarks import find_benchmark
from prism.stages.score_study.frames import interval_text

# sizes of a rank correlation in words
CLOSELY, MODERATELY = 0.7, 0.3


def title(benchmark: str) -> str:
    """A benchmark's name for people."""
    return find_benchmark(benchmark).title


def interval(row: pd.Series, name: str, digits: int) -> str:
    """A value of a row with the interval beside it."""
    return interval_text(row[name], row[f"{name}_low"], row[f"{name}_high"], digits)


def relations(table: pd.DataFrame) -> Iterator[str]:
    """A sentence a benchmark and factor on Gini, by a fixed rule of the interval and the size."""
    chosen = table[(table["score"] == "gini") & (table["measure"] == "spearman")]
    for _, row in chosen.iterrows():
        text = interval(row, "value", 2)
        yield f"{title(row['benchmark'])}: Gini {relation(row['value'], row['value_low'], row['value_high'])} " + (
            f"{row['factor']} ({text})."
        )


def relation(value: float, low: float, high: float) -> str:
    """A rank correlation in words: its sign where the interval has one, its size by two bounds."""
    if low <= 0 <= high:
        return "shows no relation with"
    size = "closely" if abs(value) >= CLOSELY else "moderately" if abs(value) >= MODERATELY else "weakly"
    return f"goes {size} {'with' if value > 0 else 'against'}"


def type_shares(table: pd.DataFrame) -> Iterator[str]:
    """A sentence a benchmark: how much of Gini's order lies between task types, and which type is most one-sided."""
    gini = table[table["score"] == "gini"]
    for benchmark, block in gini.groupby("benchmark", sort=False):
        explained = block[block["measure"] == "explained"]["value"]
        shares = block[block["measure"] == "rl_share"]
        if explained.empty or shares.empty:
            continue
        row = shares.loc[(shares["value"] - 50).abs().idxmax()]
        yield (
            f"{title(benchmark)}: the task type explains {max(explained.iloc[0], 0):.0f}% of the variance of Gini's "
            f"ranks; of {row['factor'].removeprefix('task type ')!r}, {row['value']:.0f}% "
            f"[{row['value_low']:.0f}, {row['value_high']:.0f}] go to RL."
        )
