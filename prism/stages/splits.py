"""Scores (CSV) to a split into an SFT and an RL subset (CSV)."""

from __future__ import annotations

from pathlib import Path

from prism.core.csvfiles import Table, read_table, write_table
from prism.core.errors import NotFinite
from prism.core.progress import say
from prism.core.splits import RL, SFT, Split, split_by_quantile


def make_split(scores_csv: str | Path, score: str, rl_percent: float, out_csv: str | Path) -> Split:
    """Route the trajectories above the score's quantile to RL, the others to SFT.

    Args:
        score: a column of the score table: a concentration metric, ``random-seed{n}`` or ``pass_rate``.
        rl_percent: share for RL in percent, above 0 and below 100; ties at the threshold go to SFT.
        out_csv: written with the columns id, score, regime; its head has threshold, counts and ties.

    Raises:
        BadInput: there is no such column (suggests the nearest), or the share leaves one side empty.
        NotFinite: a score is NaN or infinite; names the trajectory.
    """
    table = read_table(scores_csv)
    split = route_table(table, score, rl_percent)
    if not split.count(RL):
        say(f"{out_csv}: every trajectory is at or below the threshold of {score}: nothing goes to RL")
    head = [
        f"score: {score}",
        f"rl_percent: {rl_percent:g}",
        f"threshold: {split.threshold!r}",
        f"sft: {split.count(SFT)}",
        f"rl: {split.count(RL)}",
        f"ties_at_threshold: {split.ties}",
    ]
    rows = zip(table.column("id"), table.numbers(score), split.regimes, strict=True)
    write_table(out_csv, head, ["id", "score", "regime"], rows)
    return split


def route_table(table: Table, score: str, rl_percent: float) -> Split:
    """The split of a score table, in the order of its rows."""
    values = table.numbers(score)
    for identifier, value in zip(table.column("id"), values, strict=True):
        if value != value or abs(value) == float("inf"):
            raise NotFinite(f"{table.path}: {score} of trajectory {identifier} is NaN or infinite; score it again")
    return split_by_quantile(values, rl_percent)
