"""Evaluations as the figures read them: one estimate with its interval a method, over all seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prism.core.errors import BadInput
from prism.core.files import read_json
from prism.core.statistics import estimate_mean

OUTCOMES = {"sr": "success", "score": "score"}
INTERVAL_NOTE = (
    "Bars: 95% intervals, by Wilson for the success rate of one seed, by bootstrap over tasks for its score, with "
    "random effects of seeds and tasks for several."
)


@dataclass(frozen=True)
class EvaluationFolder:
    """Where evaluations lie: ``{root}/{backbone}/{method}/seed{seed}/{panel}.json``.

    Attributes:
        root: folder of one benchmark's evaluations.
        panel: name of the panel.
        seeds: one evaluation a seed.
    """

    root: Path
    panel: str
    seeds: tuple[int, ...]

    def files(self, backbone: str, method: str) -> list[Path]:
        """The evaluations of one method, one a seed."""
        folder = Path(self.root) / backbone / method
        return [folder / f"seed{seed}" / f"{self.panel}.json" for seed in self.seeds]


@dataclass(frozen=True)
class Estimate:
    """A mean in percent with its 95% interval, over `seeds` runs of `tasks` tasks."""

    value: float
    low: float
    high: float
    seeds: int
    tasks: int

    @property
    def error(self) -> tuple[float, float]:
        """Distances to the interval's ends, as matplotlib's error bars take them."""
        return max(self.value - self.low, 0.0), max(self.high - self.value, 0.0)


def estimate(files: Sequence[Path], measure: str) -> Estimate:
    """Success rate (``sr``) or average score (``score``), in percent.

    Raises:
        BadInput: a file is not an evaluation, or was run on other tasks than the rest.
    """
    outcomes = _read_outcomes(files, OUTCOMES[measure])
    seeds, tasks = outcomes.shape
    found = estimate_mean(outcomes)
    return Estimate(100 * found.value, 100 * found.low, 100 * found.high, seeds, tasks)


def _read_outcomes(files: Sequence[Path], key: str) -> np.ndarray:
    """Outcomes as [seeds, tasks], tasks in one order for all seeds."""
    rows, tasks = [], None
    for path in files:
        run = read_json(path)
        try:
            by_task = {episode["task_id"]: float(episode[key]) for episode in run["episodes"]}
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(path, "is not an evaluation", "rebuild it with its rule") from error
        tasks = tasks or sorted(by_task)
        if not by_task or sorted(by_task) != tasks:
            raise BadInput(path, "was run on other tasks than the other seeds", "rebuild the evaluations")
        rows.append([by_task[task] for task in tasks])
    return np.array(rows)
