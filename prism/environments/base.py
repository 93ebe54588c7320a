"""What every benchmark offers, whatever it is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from prism.core.episodes import Feedback
from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_json, write_json


class Environment(Protocol):
    """One task, ready to be played again and again."""

    task: str
    """The task in words, as the agent is told it."""

    def reset(self) -> Feedback:
        """Start an episode; the same task starts the same way every time."""

    def step(self, action: str) -> Feedback:
        """Send one action as text. An action that the environment does not know is answered, not raised."""


@dataclass(frozen=True)
class Task:
    """One task of a panel: `id` is unique in the benchmark, `game` locates it in the data folder."""

    id: str
    task_type: str
    game: str


@dataclass(frozen=True)
class Panel:
    """A fixed list of tasks that every method and seed is run on."""

    benchmark: str
    name: str
    tasks: tuple[Task, ...]

    @property
    def sha256(self) -> str:
        """Hash of the tasks in order; recorded with every evaluation."""
        return sha256_json([asdict(task) for task in self.tasks])


def write_panel(path: str | Path, panel: Panel) -> None:
    """Write a panel with its hash."""
    write_json(path, {**asdict(panel), "sha256": panel.sha256})


def read_panel(path: str | Path) -> Panel:
    """Read a panel and check it against its hash.

    Raises:
        BadInput: the file is not a panel, or was edited by hand.
    """
    value = read_json(path)
    try:
        tasks = tuple(Task(**task) for task in value["tasks"])
        panel = Panel(value["benchmark"], value["name"], tasks)
        recorded = value["sha256"]
    except (KeyError, TypeError) as error:
        raise BadInput(path, f"is not a panel ({error})", "rebuild it with its rule") from error
    if recorded != panel.sha256:
        raise BadInput(path, "does not match its own sha256", "rebuild it with its rule instead of editing it")
    _check_tasks(path, tasks)
    return panel


def _check_tasks(path: str | Path, tasks: tuple[Task, ...]) -> None:
    """There are tasks, each once, and none points out of the data folder."""
    remedy = "rebuild it with its rule"
    if not tasks:
        raise BadInput(path, "holds no task", remedy)
    seen: set[str] = set()
    for task in tasks:
        if task.id in seen:
            raise BadInput(path, f"holds task {task.id!r} twice", remedy)
        seen.add(task.id)
        game = PurePosixPath(task.game)
        if game.is_absolute() or ".." in game.parts:
            raise BadInput(path, f"game {task.game!r} of task {task.id!r} lies outside the data folder", remedy)
