"""The positive control: a part of the corpus in which the expert wastes steps.

A score of conflict should find it, and what is trained on the rest should play better. Which trajectories are detours
stands in the corpus's manifest alone, which no router reads.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from prism.core.errors import BadInput
from prism.environments.base import Task


@dataclass(frozen=True)
class Detours:
    """Which games are played with detours, and how many.

    Attributes:
        share: of every task type's games; 0: none.
        noise: share of a detour's steps before which the expert does something aimless, which is imitated.
        seed: which games.
    """

    share: float = 0.0
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("share", "noise"):
            if not 0 <= getattr(self, name) < 1:
                raise BadInput(f"detours.{name}", f"{getattr(self, name)} is not a share", "give a number in [0, 1)")
        if (self.share > 0) != (self.noise > 0):
            raise BadInput("detours", "share and noise go together", "give both, or 0 for both")

    def choose(self, tasks: Sequence[Task]) -> set[str]:
        """Ids of the tasks that are played with detours: the same share of every task type, to the nearest game."""
        by_type: dict[str, list[str]] = {}
        for task in tasks:
            by_type.setdefault(task.task_type, []).append(task.id)
        rng = random.Random(f"detours/{self.seed}")
        return {
            name
            for _, names in sorted(by_type.items())
            for name in rng.sample(sorted(names), round(self.share * len(names)))
        }


def wander(action: str, admissible: tuple[str, ...], rng: random.Random) -> str | None:
    """An admissible action that brings the task no further and leaves `action` possible, or None where there is none.

    Before a walk another place is visited; before anything else something is looked at.
    """
    kinds = ("go",) if action.startswith("go to ") else ("examine", "inventory", "look")
    return rng.choice([choice for choice in admissible if choice != action and choice.split()[0] in kinds] or [None])
