"""Scores (CSV) to a split into an SFT and an RL subset (CSV).

A score table may hold a column ``{score}_rank``: the order of the score with its ties broken. Where it is there, the
quantile is that of the ranks; the split still publishes the score itself, and how much the tie-break decided.

The labels of a positive control are routed as they are: exactly the labelled trajectories go to RL.

A random score is no column: it follows from its seed and the ids, so that a new seed changes no file of another one.
Random within length also needs the lengths.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from prism.core.csv_files import Table, read_table, write_table
from prism.core.detours import DETOUR, read_detours
from prism.core.errors import BadInput
from prism.core.progress import say
from prism.core.splits import (
    DRAWN,
    RANDOM_IN_LENGTH,
    RL,
    SFT,
    Split,
    column_and_variant,
    split_by_label,
    split_by_quantile,
)
from prism.core.trajectories import read_trajectories

_RANDOM_SCORE = re.compile(rf"({'|'.join(DRAWN)})-seed(\d+)")
# groups of trajectories of about equal length, each split alike by a random score within length
LENGTH_BINS = 10


def make_split(scores: str | Path, score: str, rl_percent: float, out_csv: str | Path) -> Split:
    """Route the trajectories above the score's quantile to RL, the others to SFT.

    Args:
        scores: the score table (CSV); for a random score also the corpus (JSONL), whose ids are all it needs; for
            ``detour`` the corpus's manifest (JSON).
        score: a column of the score table, a concentration metric or ``pass_rate``; ``random-seed{n}`` or
            ``random_in_length-seed{n}``; ``detour``. A variant of the probe in its name (``gini@steps``)
            says whose score table this is.
        rl_percent: share for RL in percent, above 0 and below 100; ties at the threshold go to SFT.
        out_csv: written with the columns id, score, regime; its head has threshold, counts and ties.

    Raises:
        BadInput: there is no such column (suggests the nearest), a score is NaN or infinite (names the trajectory), or
            the share leaves one side empty; the corpus has no labels.
    """
    column, _ = column_and_variant(score)
    table = score_table(scores, column)
    split = route_table(table, column, rl_percent)
    write_split(table, split, column, rl_percent, out_csv)
    return split


def score_table(scores: str | Path, score: str) -> Table:
    """The table that holds a score: a file, or for a random score the ids of one, or for ``detour`` labels."""
    if score == DETOUR:
        rows = [[identifier, str(int(label))] for identifier, label in sorted(read_detours(scores).items())]
        return Table(Path(scores), [], ["id", score], rows)
    return random_scores(scores, score) if _RANDOM_SCORE.fullmatch(score) else read_table(scores)


def write_split(table: Table, split: Split, score: str, rl_percent: float, out_csv: str | Path) -> None:
    """Write a split (CSV): id, score and regime of every trajectory; threshold, counts and ties in the head."""
    if not split.count(RL):
        say(f"{out_csv}: every trajectory is at or below the threshold of {score}: nothing goes to RL")
    values = table.numbers(score)
    head = [
        f"score: {score}",
        f"rl_percent: {rl_percent:g}",
        f"threshold: {split.threshold!r}",
        f"sft: {split.count(SFT)}",
        f"rl: {split.count(RL)}",
        f"ties_at_threshold: {split.ties}",
    ]
    if rank_column(score) in table.columns:
        head += tie_break_lines(score, values, split)
    write_table(out_csv, head, ["id", "score", "regime"], zip(table.column("id"), values, split.regimes, strict=True))


def random_scores(path: str | Path, score: str) -> Table:
    """The table of a random score: uniform numbers in [0, 1), drawn in the order of the sorted ids.

    Args:
        path: a score table (CSV) or a corpus (JSONL); with its lengths for a random score within length.
        score: ``random-seed{n}`` or ``random_in_length-seed{n}``.
    """
    path = Path(path)
    kind, seed = _RANDOM_SCORE.fullmatch(score).groups()
    table = None if path.suffix == ".jsonl" else read_table(path)
    ids = table.column("id") if table else sorted(trajectory.id for trajectory in read_trajectories(path))
    numbers = np.random.default_rng(int(seed)).random(len(ids))
    drawn = dict(zip(sorted(ids), numbers.tolist(), strict=True))
    if kind == RANDOM_IN_LENGTH:
        if table is None:
            raise BadInput(path, "has no lengths in tokens", "give the score table")
        drawn = _within_bins(drawn, dict(zip(ids, table.numbers("length"), strict=True)))
    return Table(path, [], ["id", score], [[identifier, repr(drawn[identifier])] for identifier in ids])


def _within_bins(drawn: Mapping[str, float], lengths: Mapping[str, float]) -> dict[str, float]:
    """Place of every draw among those of its bin, in (0, 1): a quantile splits every bin of lengths alike."""
    order = sorted(drawn, key=lambda identifier: (lengths[identifier], drawn[identifier]))
    places: dict[str, float] = {}
    for members in np.array_split(np.array(order, dtype=object), min(LENGTH_BINS, len(order))):
        ranked = sorted(members, key=drawn.__getitem__)
        places |= {identifier: (rank + 0.5) / len(ranked) for rank, identifier in enumerate(ranked)}
    return places


def route_table(table: Table, score: str, rl_percent: float) -> Split:
    """The split of a score table, in the order of its rows; by the ranks of the score where the table has them."""
    values = table.numbers(score)
    seen: set[str] = set()
    for identifier, value in zip(table.column("id"), values, strict=True):
        if identifier in seen:
            raise BadInput(table.path, f"holds {identifier!r} twice", "score a corpus with unique ids")
        seen.add(identifier)
        if value != value or abs(value) == float("inf"):
            raise BadInput(table.path, f"{score} of trajectory {identifier!r} is NaN or infinite", "score it again")
    if score == DETOUR:
        return split_by_label(values, rl_percent)
    ranks = rank_column(score)
    return split_by_quantile(table.numbers(ranks) if ranks in table.columns else values, rl_percent)


def rank_column(score: str) -> str:
    """Name of the column that holds a score's order with its ties broken."""
    return f"{score}_rank"


def tie_break_lines(score: str, values: Sequence[float], split: Split) -> list[str]:
    """Head lines that say how much of a split the tie-break decided, not the score.

    ``tied``: trajectories that share their score with another one. ``decided_by_tie_break``: trajectories whose score
    is found on both sides of the split, so that chance alone chose their side.
    """
    counts = Counter(values)
    tied = sum(count for count in counts.values() if count > 1)
    sides = {regime: {v for v, routed in zip(values, split.regimes, strict=True) if routed == regime}
             for regime in (SFT, RL)}  # fmt: skip
    decided = sum(counts[value] for value in sides[SFT] & sides[RL])
    return [
        f"split_by: {rank_column(score)}",
        f"tied: {tied}",
        f"tied_share: {tied / len(values):.4f}",
        f"decided_by_tie_break: {decided}",
        f"decided_by_tie_break_share: {decided / len(values):.4f}",
    ]
