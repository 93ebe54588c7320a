"""Appendix B over a whole corpus: what the SFT half and the RL half of each score hold, not two chosen cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from prism.core.results import Results
from prism.stages.score_study.frames import (
    HALVES,
    INTERVALS,
    METRIC_NAMES,
    METRICS,
    Study,
    by_benchmark,
    halves,
    halves_text,
    pivot,
    read_facts,
    read_scores,
    varies,
)

COLUMNS = ("benchmark", "backbone", "score", "behaviour", *HALVES, "trajectories")
RECOVERY, REPEATED, SEARCHES, LENGTH = "error recovery", "repeated actions", "search", "length"
UNITS = {
    RECOVERY: "% of trajectories with one",
    REPEATED: "% of a trajectory's actions",
    SEARCHES: "% of a trajectory's actions",
    LENGTH: "actions",
}
NOTES = [
    "means over the trajectories of the SFT half and of the RL half of a median split, and RL's minus SFT's. Error "
    "recovery: percent of trajectories in which the expert answers an action that had no effect; repeated actions and "
    "search: percent of a trajectory's actions; length: actions",
    "the paper (appendix B) finds by hand: instruction following and keyword matching in the SFT half, error recovery "
    "and changes of the search in the RL half",
    INTERVALS,
]


def study(scores: Sequence[Path], facts: Sequence[Path]) -> Study:
    """Each behaviour in both halves of every score.

    Args:
        scores: score tables.
        facts: counts of the corpora.
    """
    corpora = by_benchmark(facts)
    rows, left_out = [], []
    for (benchmark, backbone), (path,) in Results.by_place(scores).items():
        table = read_scores(path)
        behaviours = _behaviours(read_facts(corpora[benchmark], list(table.index)))
        for name, values in behaviours.items():
            if not varies(values):
                note = f"left out, {benchmark}: {name} is {values[0]:g} in every trajectory"
                left_out += [note] if note not in left_out else []
                continue
            for metric in METRICS:
                numbers = halves(table[metric].to_numpy(float), values)
                rows.append([benchmark, backbone, metric, name, *numbers, len(table)])
    return Study(COLUMNS, rows, [*NOTES, *left_out], _shown(rows))


def _behaviours(described: pd.DataFrame) -> dict[str, np.ndarray]:
    steps = described["steps"].to_numpy(float)
    return {
        RECOVERY: 100.0 * (described["recoveries"].to_numpy() > 0),
        REPEATED: 100 * described["repeated"].to_numpy() / steps,
        SEARCHES: 100 * described["searches"].to_numpy() / steps,
        LENGTH: steps,
    }


def _shown(rows: Sequence[Sequence]) -> dict[str, pd.DataFrame]:
    """A section a (benchmark, backbone), a column a score."""
    sections: dict[str, list[dict[str, str]]] = {}
    for benchmark, backbone, metric, name, *numbers, _ in rows:
        line = {"behaviour": name, "unit": UNITS[name], "score": METRIC_NAMES[metric]}
        line["value"] = halves_text(numbers, 1)
        sections.setdefault(f"{benchmark}, {backbone}: SFT half -> RL half: difference", []).append(line)
    return {name: pivot(lines, ("behaviour", "unit"), "score", "value") for name, lines in sections.items()}
