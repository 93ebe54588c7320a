"""Evaluations as the figures draw them: by backbone and method, each a rate or score in percent with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.evaluations import Evaluation, read_seeds, value_matrix
from prism.core.paper_tables import Measure, success_of
from prism.core.results import Results
from prism.core.statistics import Estimate, estimate_mean

INTERVAL_NOTE = (
    "Bars: 95% intervals, by Wilson for the success rate of one seed, by bootstrap over tasks for its score, with "
    "random effects of seeds and tasks for several."
)


class Evaluations:
    """The evaluations of a figure.

    Args:
        paths: ``.../{benchmark}/{backbone}/{method}/seed{seed}/{panel}.json``, all on one panel.
    """

    def __init__(self, paths: Sequence[Path]):
        self._paths: dict[tuple[str, str], list[Path]] = {}
        for path in paths:
            played = Results.played(path)
            self._paths.setdefault((played.backbone, played.method), []).append(path)
        self.runs = cache(self._read)

    def _read(self, backbone: str, method: str) -> list[Evaluation]:
        """One evaluation a seed.

        Raises:
            BadInput: there is none, a file is not an evaluation, or was run on another panel than the other seeds.
        """
        if (backbone, method) not in self._paths:
            raise BadInput("--evaluations", f"there is none of {backbone}/{method}", "give one a seed")
        return read_seeds(self._paths[backbone, method])

    def estimate(self, backbone: str, method: str, measure: str) -> Estimate:
        """Success rate (``sr``) or average score (``score``), in percent."""
        runs = self.runs(backbone, method)
        measured = success_of(runs[0].benchmark) if measure == "sr" else Measure("score")
        return estimate_mean(value_matrix(runs, measured)).in_percent()

    def size(self, backbone: str, method: str) -> str:
        """How much one estimate rests on, in words."""
        runs = self.runs(backbone, method)
        return f"{len(runs[0].task_ids)} tasks, {len(runs)} seed(s)."
