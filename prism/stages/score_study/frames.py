"""What the tables about the scores share: how they read scores and norms, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prism.core.associations import means_by_half
from prism.core.concentration import PAPER_METRICS as METRICS
from prism.core.csv_files import read_frame, write_table
from prism.core.errors import BadInput
from prism.core.files import write_text
from prism.core.results import Results
from prism.core.statistics import Estimate
from prism.stages.markdown import markdown_table
from prism.stages.tables.notes import scale_note

METRIC_NAMES = {"gini": "Gini", "kurtosis": "kurtosis", "cv": "CV"}
INTERVALS = "Intervals: 95%, percentile bootstrap over trajectories (1000 draws), the median split made anew in each."
FEWEST = 4
Place = tuple[str, str]


@dataclass(frozen=True)
class Study:
    """A table about the scores.

    Attributes:
        columns: of the CSV file.
        rows: of the CSV file.
        notes: what the columns mean, and what was left out and why.
        shown: for people, a frame a section.
    """

    columns: tuple[str, ...]
    rows: list[list]
    notes: list[str]
    shown: dict[str, pd.DataFrame]


def write_study(study: Study, title: str, scale: str, out_csv: str | Path, out_md: str | Path) -> None:
    """Write a table as CSV and as Markdown; numbers with four digits that count, so that equal runs are equal bytes."""
    head = [f"{title}. {scale_note(scale)}", *study.notes]
    write_table(out_csv, head, study.columns, [[_text(field) for field in row] for row in study.rows])
    lines = [f"# {title}", "", f"**{scale_note(scale)}.**", "", *(f"- {note}" for note in study.notes)]
    for section, frame in study.shown.items():
        lines += ["", *([f"## {section}", ""] if section else [])]
        lines.append(markdown_table(frame))
    write_text(out_md, "\n".join(lines) + "\n")


def _text(field: object) -> object:
    return f"{field:.4g}" if isinstance(field, float) else field


def interval_text(value: float, low: float, high: float, digits: int) -> str:
    """``0.96 [0.95, 0.97]``."""
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def bounds(found: Estimate) -> list[float]:
    """Value, low, high."""
    return [found.value, found.low, found.high]


HALVES = (
    *("sft_half", "sft_half_low", "sft_half_high", "rl_half", "rl_half_low", "rl_half_high"),
    *("difference", "difference_low", "difference_high"),
)


def halves(score: np.ndarray, values: np.ndarray) -> list[float]:
    """A quantity's mean in the SFT half and in the RL half and their difference: the columns `HALVES`."""
    return [number for found in means_by_half(score, values) for number in bounds(found)]


def halves_text(numbers: Sequence[float], digits: int) -> str:
    """``10.0 -> 9.2: -0.8 [-1.5, 0.0]``: SFT half, RL half, difference."""
    return f"{numbers[0]:.{digits}f} -> {numbers[3]:.{digits}f}: {interval_text(*numbers[6:9], digits)}"


def by_benchmark(paths: Iterable[Path]) -> dict[str, Path]:
    """Facts of corpora by benchmark."""
    return {Results.corpus_of(path): path for path in paths}


def read_scores(path: Path) -> pd.DataFrame:
    """A score table by id.

    Raises:
        BadInput: it lacks a metric, or has too few trajectories for a rank correlation.
    """
    _, table = read_frame(path, texts=["id"])
    if missing := [name for name in ("id", *METRICS) if name not in table]:
        raise BadInput(path, f"column {missing[0]!r} is missing", "rebuild it with its rule")
    if len(table) < FEWEST:
        raise BadInput(path, f"has fewer than {FEWEST} trajectories: no rank correlation", "score more of them")
    return table.set_index("id")


def read_facts(path: Path, ids: Sequence[str]) -> pd.DataFrame:
    """The facts of these trajectories, in their order.

    Raises:
        BadInput: one of them is not in the corpus.
    """
    _, table = read_frame(path, texts=["id", "task_type"])
    return of_ids(path, table.set_index("id"), ids)


def read_pass_rates(path: Path, ids: Sequence[str]) -> pd.DataFrame:
    """Counted rollouts of these trajectories' tasks, in their order.

    Raises:
        BadInput: it lacks a column, or one of the tasks.
    """
    _, table = read_frame(path, texts=["id"])
    if missing := [name for name in ("id", "pass_rate", "solved", "rollouts") if name not in table]:
        raise BadInput(path, f"has no column {missing[0]!r}", "make it with prism stage pass-rate-table")
    return of_ids(path, table.set_index("id"), ids)


def of_ids(path: Path, table: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """Rows of a table in the order of these ids.

    Raises:
        BadInput: one of them is missing.
    """
    if missing := [identifier for identifier in ids if identifier not in table.index]:
        raise BadInput(path, f"trajectory {missing[0]!r} is missing", "rebuild it with its rule")
    return table.loc[list(ids)]


def varies(values: np.ndarray) -> bool:
    """Whether a score or factor tells any two trajectories apart."""
    return bool(np.ptp(values) > 0)


def pivot(rows: Sequence[Mapping[str, str]], index: Sequence[str], column: str, value: str) -> pd.DataFrame:
    """Rows for people: a column for every value of `column`, in the order of their first appearance."""
    table: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        table.setdefault(tuple(row[name] for name in index), {})[row[column]] = row[value]
    heads = list(dict.fromkeys(row[column] for row in rows))
    lines = [[*key, *(cells.get(head, "-") for head in heads)] for key, cells in table.items()]
    return pd.DataFrame(lines, columns=[*index, *heads])
