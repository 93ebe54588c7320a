"""Stage: fixed panels of tasks, the same for every method and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.progress import say
from prism.core.trajectories import read_trajectories
from prism.environments import load_data
from prism.environments.base import Panel, Task, write_panel


def make_panel(
    benchmark: str, data_dir: Path, split: str, out_path: Path, recipe: Any, trajectories: Path | None = None
) -> None:
    """Write the panel of a split.

    Args:
        recipe: of the benchmark's kind for ``panel``.
        trajectories: for ``train``, the corpus: the panel lists exactly the tasks that have a trajectory.

    Raises:
        BadInput: unknown split, fewer tasks than the panel asks for, or a trajectory of no training task.
    """
    data = load_data(benchmark)
    if split == "train":
        if trajectories is None:
            raise BadInput("train", "the training panel needs the trajectories", "give --trajectories")
        tasks = _with_trajectory(data.training_tasks(data_dir, recipe), trajectories)
    else:
        tasks = data.panel_tasks(data_dir, split, recipe)
    write_panel(out_path, Panel(benchmark, split, tuple(tasks)))
    say(f"panel {split}: {len(tasks)} tasks")


def _with_trajectory(tasks: list[Task], trajectories: Path) -> list[Task]:
    """The tasks that a corpus has a trajectory of, by id."""
    known = {task.id: task for task in tasks}
    chosen = []
    for trajectory in read_trajectories(trajectories):
        if trajectory.id not in known:
            raise BadInput(
                trajectories, f"{trajectory.id!r} is no training task", "use the games or catalog it was made from"
            )
        chosen.append(known[trajectory.id])
    return sorted(chosen, key=lambda task: task.id)
