"""Stage: fixed panels of tasks, the same for every method and seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.progress import say
from prism.core.trajectories import read_trajectories
from prism.environments.alfworld.games import SPLITS
from prism.environments.base import Panel, Task, write_panel
from prism.stages.games import read_games
from prism.stages.trajectories import spread


@dataclass(frozen=True)
class PanelRecipe:
    """Which tasks make a panel.

    Attributes:
        size: tasks of the panel, task types in turn; 0 takes the whole split. The train panel ignores it.
        seed: which tasks of a type are taken.
    """

    size: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 0:
            raise BadInput("size", f"{self.size} is negative", "give a number of tasks, or 0 for the whole split")


def make_panel(
    games_dir: Path, split: str, out_path: Path, recipe: PanelRecipe, trajectories: Path | None = None
) -> None:
    """Write the panel of a split.

    Args:
        trajectories: for ``train``, the corpus: the panel lists exactly the tasks that have a trajectory.

    Raises:
        BadInput: unknown split, a split smaller than the panel, or a trajectory whose game is unknown.
    """
    if split not in SPLITS:
        raise BadInput(split, "is not a split", f"use one of {', '.join(SPLITS)}")
    games = read_games(games_dir, split)
    if split == "train":
        if trajectories is None:
            raise BadInput("train", "the training panel needs the trajectories", "give --trajectories")
        tasks = tasks_with_trajectory(games, trajectories, "is not a training game", "use the games it was made from")
    else:
        tasks = _sample(games, recipe, f"{games_dir}: {split}")
    write_panel(out_path, Panel("alfworld", split, tuple(tasks)))
    say(f"panel {split}: {len(tasks)} tasks")


def tasks_with_trajectory(tasks: Sequence[Task], trajectories: Path, problem: str, remedy: str) -> list[Task]:
    """The tasks that a corpus has a trajectory of, by id.

    Raises:
        BadInput: a trajectory is of none of the tasks; `problem` and `remedy` say it in the benchmark's words.
    """
    known = {task.id: task for task in tasks}
    chosen = []
    for trajectory in read_trajectories(trajectories):
        if trajectory.id not in known:
            raise BadInput(trajectories, f"{trajectory.id!r} {problem}", remedy)
        chosen.append(known[trajectory.id])
    return sorted(chosen, key=lambda task: task.id)


def _sample(games: list[Task], recipe: PanelRecipe, place: str) -> list[Task]:
    if recipe.size > len(games):
        raise BadInput(place, f"{len(games)} games cannot fill a panel of {recipe.size}", "ask for fewer or make more")
    shuffled = list(games)
    random.Random(recipe.seed).shuffle(shuffled)
    return sorted(spread(shuffled, recipe.size), key=lambda task: task.id)
