"""Appendix F: do rollouts of tasks in the RL half differ more within their group than those of the SFT half?"""

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
    halves,
    halves_text,
    pivot,
    read_pass_rates,
    read_scores,
    varies,
)

COLUMNS = ("benchmark", "backbone", "score", "measure", *HALVES, "trajectories", "rollouts")
CONTRAST, MIXED = "contrast", "mixed groups"
NOTES = [
    "of n rollouts of a task by the untrained backbone, k are solved; contrast: mean of 4 k (n - k) / n^2, which is 1 "
    "where half are solved and 0 where all end alike; mixed groups: percent of tasks with 0 < k < n, the only ones "
    "that teach GRPO something",
    "the paper (appendix F) expects more contrast in the RL half",
    INTERVALS,
]


def study(scores: Sequence[Path], pass_rates: Sequence[Path]) -> Study:
    """Contrast in both halves of every score, where pass rates were counted.

    Args:
        scores: score tables.
        pass_rates: counted rollouts, of as many of the same (benchmark, backbone) as have them.
    """
    counted = Results.by_place(pass_rates)
    rows, left_out = [], []
    for place, (path,) in Results.by_place(scores).items():
        where = "/".join(place)
        if place not in counted:
            left_out.append(f"left out, {where}: pass rates were not counted in this run")
            continue
        table = read_scores(path)
        rollouts, measures = _contrast(counted[place][0], list(table.index))
        for name, values in measures.items():
            if not varies(values):
                left_out.append(f"left out, {where}: {name} is {values[0]:g} for every task")
                continue
            for metric in METRICS:
                numbers = halves(table[metric].to_numpy(float), values)
                rows.append([*place, metric, name, *numbers, len(table), rollouts])
    return Study(COLUMNS, rows, [*NOTES, *left_out], _shown(rows))


def _contrast(path: Path, ids: Sequence[str]) -> tuple[int, dict[str, np.ndarray]]:
    """Rollouts a task, and each task's measures."""
    counts = read_pass_rates(path, ids)
    solved, rollouts = counts["solved"].to_numpy(float), counts["rollouts"].to_numpy(float)
    contrast = 4 * solved * (rollouts - solved) / rollouts**2
    return int(rollouts[0]), {CONTRAST: contrast, MIXED: 100.0 * (contrast > 0)}


def _shown(rows: Sequence[Sequence]) -> dict[str, pd.DataFrame]:
    """A section a (benchmark, backbone), a column a score."""
    sections: dict[str, list[dict[str, str]]] = {}
    for benchmark, backbone, metric, name, *numbers, _, _ in rows:
        line = {"measure": name, "score": METRIC_NAMES[metric]}
        line["value"] = halves_text(numbers, 3 if name == CONTRAST else 1)
        sections.setdefault(f"{benchmark}, {backbone}: SFT half -> RL half: difference", []).append(line)
    return {name: pivot(lines, ("measure",), "score", "value") for name, lines in sections.items()}
