"""Evaluation files, read back: one outcome an episode, aligned over seeds and methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_file
from prism.core.paper_tables import Measure

REBUILD = "rebuild it with its rule"


@dataclass(frozen=True)
class Evaluation:
    """One run of one checkpoint on a fixed panel; all arrays follow the panel's order.

    Attributes:
        panel: name of the panel.
        recipe: settings of the evaluation.
        success, scores: of the episodes; scores in [0, 1].
    """

    path: Path
    sha256: str
    benchmark: str
    panel: str
    panel_sha256: str
    seed: int
    recipe: dict[str, Any]
    task_ids: tuple[str, ...]
    task_types: np.ndarray
    success: np.ndarray
    scores: np.ndarray

    def values(self, measure: Measure) -> np.ndarray:
        """The episodes' values in [0, 1] of a measure, those of its task type only."""
        chosen = self.task_types == measure.task_type if measure.task_type else np.full(len(self.task_ids), True)
        outcomes = {"success": self.success, "full_score": self.scores == 1.0, "score": self.scores}[measure.kind]
        return outcomes[chosen].astype(float)


def read_evaluation(path: str | Path) -> Evaluation:
    """Read one evaluation file.

    Raises:
        BadInput: it is not an evaluation, holds no episode or one task twice, or a score lies outside [0, 1].
    """
    run = read_json(path)
    try:
        episodes = run["episodes"]
        evaluation = Evaluation(
            path=Path(path),
            sha256=sha256_file(path),
            benchmark=run["benchmark"],
            panel=run["panel"],
            panel_sha256=run["panel_sha256"],
            seed=run["seed"],
            recipe=run["recipe"],
            task_ids=tuple(episode["task_id"] for episode in episodes),
            task_types=np.array([episode["task_type"] for episode in episodes]),
            success=np.array([episode["success"] for episode in episodes]),
            scores=np.array([episode["score"] for episode in episodes], dtype=float),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(path, "is not an evaluation", REBUILD) from error
    if not episodes or evaluation.success.dtype != bool or not isinstance(evaluation.seed, int):
        raise BadInput(path, "is not an evaluation", REBUILD)
    named = all(isinstance(name, str) for name in (*evaluation.task_ids, *evaluation.task_types.tolist()))
    if not named or evaluation.success.ndim != 1 or evaluation.scores.ndim != 1:
        raise BadInput(path, "holds an episode of another form", REBUILD)
    if len(set(evaluation.task_ids)) < len(episodes):
        raise BadInput(path, "holds a task twice", REBUILD)
    if not ((evaluation.scores >= 0) & (evaluation.scores <= 1)).all():
        raise BadInput(path, "holds a score outside [0, 1]", REBUILD)
    return evaluation


def read_seeds(paths: Sequence[Path]) -> list[Evaluation]:
    """Read the evaluations of one method on one panel, ordered by seed.

    Raises:
        BadInput: there is none, a seed comes twice, or one was run on another panel than the rest.
    """
    if not paths:
        raise BadInput("evaluations", "there are none", "give one a seed")
    runs = sorted((read_evaluation(path) for path in paths), key=lambda run: run.seed)
    for run, following in pairwise(runs):
        if (run.panel_sha256, run.task_ids) != (following.panel_sha256, following.task_ids):
            raise BadInput(following.path, "was run on another panel than the other seeds", "rebuild the evaluations")
        if run.seed == following.seed:
            raise BadInput(following.path, f"is a second evaluation of seed {run.seed}", "give one a seed")
    return runs


def value_matrix(runs: Sequence[Evaluation], measure: Measure) -> np.ndarray:
    """Values of a measure, shape (seeds, tasks); no task of its type gives shape (seeds, 0)."""
    return np.stack([run.values(measure) for run in runs])
