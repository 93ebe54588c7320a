"""What every benchmark offers, whatever it is made of."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

from prism.core.detours import DETOURS
from prism.core.episodes import Feedback
from prism.core.errors import BadInput
from prism.core.eto import Conversation
from prism.core.files import read_json, sha256_json, write_json
from prism.core.progress import track
from prism.core.trajectories import Trajectory


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


@dataclass(frozen=True)
class Attempt:
    """One task that an expert played: a trajectory, or the reason why there is none.

    Attributes:
        detour: whether the expert wasted steps on purpose; None where a corpus has no such trajectories.
    """

    trajectory: Trajectory | None
    reason: str = ""
    detour: bool | None = None


class BenchmarkData:
    """How a benchmark's tasks and trajectories are made: what the data stages ask a benchmark for.

    `data_dir` is the folder that `make_games` wrote. Tasks are handed out in chunks to worker processes; what comes out
    depends on no chunk.
    """

    recipes: Mapping[str, type]
    """The recipe of each data stage, by its command: ``games``, ``trajectories``, ``panel``, and, where there are any,
    ``catalog`` (files from which games are made), ``transcripts`` and ``eto-trajectories``."""

    def games_settings(self, config: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Settings of the ``games`` recipe from the benchmark's config; None where none counts."""
        return config["games"]

    def make_catalog(self, out_dir: Path, recipe: Any) -> None:
        """Generate the files that games are made from, in the format of the released ones."""
        raise NotImplementedError

    def make_games(self, files: Path | None, out_dir: Path, recipe: Any) -> None:
        """Write the data folder: from released or generated `files`, or generated from the recipe alone."""
        raise NotImplementedError

    def training_tasks(self, data_dir: Path, recipe: Any) -> list[Task]:
        """The training tasks that a recipe lets an expert play; with a panel's recipe, all of them."""
        raise NotImplementedError

    def panel_tasks(self, data_dir: Path, split: str, recipe: Any) -> list[Task]:
        """The tasks of an evaluation panel."""
        raise NotImplementedError

    def first_game(self, data_dir: Path) -> str:
        """Name of a game that is not for training."""
        raise NotImplementedError

    def play_expert(self, data_dir: Path, recipe: Any, tasks: Sequence[Task]) -> list[Attempt]:
        """The expert plays each task."""
        raise NotImplementedError

    def play_transcripts(self, data_dir: Path, recipe: Any, tasks: Sequence[Task]) -> list[list[Trajectory]]:
        """Episodes of each task, random play or that of an expert that errs: what a tiny backbone is pre-trained on."""
        raise NotImplementedError

    def play_recorded(
        self, data_dir: Path, recipe: Any, conversations: Sequence[Conversation], workers: int
    ) -> list[Attempt]:
        """Each of ETO's conversations, played again."""
        raise NotImplementedError

    def manifest(self, corpus: Sequence[Trajectory], played: Sequence[tuple[Task, Attempt]]) -> dict[str, Any]:
        """What a corpus holds, and which tasks have no trajectory for what reason."""
        dropped = [
            {"id": task.id, "task_type": task.task_type, "reason": attempt.reason}
            for task, attempt in played
            if attempt.trajectory is None
        ]
        # here and not in the corpus: whoever scores or routes reads the corpus alone
        marked = {task.id: attempt.detour for task, attempt in played if attempt.detour is not None}
        labels = {DETOURS: {one.id: marked[one.id] for one in corpus}} if marked else {}
        dropped.sort(key=lambda entry: entry["id"])
        return {**corpus_facts(corpus), "games": len(played), "dropped": dropped, **labels}

    def words(self) -> set[str]:
        """Every word that the benchmark and its experts can say: the vocabulary of a tiny backbone."""
        raise NotImplementedError


def corpus_facts(corpus: Sequence[Trajectory]) -> dict[str, Any]:
    """Counts of a corpus, for its manifest."""
    steps = [len(trajectory.steps) for trajectory in corpus]
    return {
        "benchmark": corpus[0].benchmark,
        "trajectories": len(corpus),
        "by_type": dict(sorted(Counter(trajectory.task_type for trajectory in corpus).items())),
        "by_expert": dict(sorted(Counter(trajectory.expert for trajectory in corpus).items())),
        "steps": sum(steps),
        "undemonstrated_steps": sum(not step.demonstrated for trajectory in corpus for step in trajectory.steps),
        "longest": max(steps),
    }


# who plays transcripts for pre-training
RANDOM_PLAYER, EXPERT_PLAYER = PLAYERS = ("random", "expert")
Result = TypeVar("Result")
TASKS_PER_CHUNK = 8


def in_parallel(
    work: Callable[[Sequence[Task]], list[Result]], tasks: Sequence[Task], workers: int, what: str
) -> Iterator[tuple[Task, Result]]:
    """Apply `work` to chunks of tasks in worker processes; results come in the order of the tasks."""
    chunks = [tasks[start : start + TASKS_PER_CHUNK] for start in range(0, len(tasks), TASKS_PER_CHUNK)]
    if workers <= 1:
        yield from _unpacked(chunks, map(work, chunks), len(tasks), what)
        return
    # spawn: a forked child would inherit locks that threads of torch or Ray hold at that moment
    with multiprocessing.get_context("spawn").Pool(min(workers, len(chunks))) as pool:
        yield from _unpacked(chunks, pool.imap(work, chunks), len(tasks), what)


def _unpacked(
    chunks: list[Sequence[Task]], results: Iterator[list[Result]], total: int, what: str
) -> Iterator[tuple[Task, Result]]:
    pairs = (pair for chunk, found in zip(chunks, results, strict=True) for pair in zip(chunk, found, strict=True))
    yield from track(pairs, total, what, "games")
