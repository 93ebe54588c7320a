"""Stages: trajectories of the oracle shopper, transcripts of a random shopper, and panels, on WebShop goals."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import sha256_file, write_json
from prism.core.progress import say, track
from prism.core.trajectories import Step, Trajectory, write_trajectories
from prism.environments.base import Panel, write_panel
from prism.environments.webshop import shopper
from prism.environments.webshop.environment import SEARCH_CHOICE, GoalSplit, WebshopEnvironment, goal_task
from prism.environments.webshop.shopper import Rejection
from prism.environments.webshop.store import Store
from prism.stages.panels import tasks_with_trajectory

BENCHMARK = "webshop"
RANDOM_EXPERT = "random"


@dataclass(frozen=True)
class WebshopTrajectoriesRecipe:
    """Which goals the oracle shopper plays.

    Attributes:
        goals: the goal list, ``human`` or ``synthetic``.
        max_steps: environment steps of an episode.
        seed: which training goals are taken.
        max_goals: take this many training goals; 0 takes all.
        split: sizes of the parts of the goal list.
    """

    goals: str
    max_steps: int
    seed: int
    max_goals: int = 0
    split: GoalSplit = field(default_factory=GoalSplit)


@dataclass(frozen=True)
class WebshopTranscriptsRecipe:
    """How a random shopper plays.

    Attributes:
        goals: the goal list, ``human`` or ``synthetic``.
        tasks: training goals played.
        episodes: episodes of each.
    """

    goals: str
    tasks: int
    episodes: int
    max_steps: int
    seed: int
    split: GoalSplit = field(default_factory=GoalSplit)


@dataclass(frozen=True)
class WebshopPanelRecipe:
    """Which goals make a panel.

    Attributes:
        goals: the goal list, ``human`` or ``synthetic``.
        size: goals of the panel; 0 takes the whole part of the list. The train panel ignores it.
        seed: which goals are taken.
    """

    goals: str
    size: int = 0
    seed: int = 0
    split: GoalSplit = field(default_factory=GoalSplit)


def collect_trajectories(
    store_dir: Path, out_jsonl: Path, manifest_path: Path, recipe: WebshopTrajectoriesRecipe
) -> None:
    """Let the oracle shopper play training goals; write the episodes with full score, sorted by id.

    Goals that it does not reach are counted by reason in the manifest.

    Raises:
        BadInput: the store or its goals cannot be used, or no goal was reached.
    """
    store = Store(store_dir, recipe.goals)
    indices = _sample(recipe.split.indices("train", len(store.goals)), recipe.max_goals, recipe.seed)
    corpus: list[Trajectory] = []
    rejected: Counter[str] = Counter()
    for index in track(indices, len(indices), "oracle shopper", "goals"):
        played = shopper.shop(WebshopEnvironment(store, index), store.goals[index], recipe.max_steps)
        if isinstance(played, Rejection):
            rejected[played.reason] += 1
        else:
            corpus.append(_trajectory(store, index, goal_task(store, index).id, shopper.NAME, True, played))
    if not corpus:
        raise BadInput(store_dir, "the oracle shopper reached no goal", "raise max_steps or use another catalog")
    write_trajectories(out_jsonl, sorted(corpus, key=lambda trajectory: trajectory.id))
    write_json(manifest_path, _manifest(out_jsonl, corpus, rejected, len(indices)))
    say(f"{len(corpus)} trajectories, {sum(rejected.values())} goals rejected")


def collect_random_transcripts(store_dir: Path, out_jsonl: Path, recipe: WebshopTranscriptsRecipe) -> None:
    """Play training goals with actions drawn at random, searching with words of the instruction.

    They teach a tiny backbone the language of the store and of the prompt, but not how to shop.
    """
    store = Store(store_dir, recipe.goals)
    indices = _sample(recipe.split.indices("train", len(store.goals)), recipe.tasks, recipe.seed)
    corpus = []
    for index in track(indices, len(indices), "random transcripts", "goals"):
        environment = WebshopEnvironment(store, index)
        for episode in range(recipe.episodes):
            identifier = f"{goal_task(store, index).id}-{RANDOM_EXPERT}{episode}"
            rng = random.Random(f"{recipe.seed}/{identifier}")
            steps, success = _random_episode(environment, recipe.max_steps, rng)
            corpus.append(_trajectory(store, index, identifier, RANDOM_EXPERT, success, steps))
    write_trajectories(out_jsonl, sorted(corpus, key=lambda trajectory: trajectory.id))


def make_panel(
    store_dir: Path, split: str, out_path: Path, recipe: WebshopPanelRecipe, trajectories: Path | None = None
) -> None:
    """Write the panel of a split: ``test``, ``dev``, or ``train``.

    Args:
        trajectories: for ``train``, the corpus: the panel lists exactly the goals that have a trajectory.

    Raises:
        BadInput: unknown split, fewer goals than asked for, or a trajectory that is not of a training goal.
    """
    store = Store(store_dir, recipe.goals)
    indices = recipe.split.indices(split, len(store.goals))
    if split == "train":
        if trajectories is None:
            raise BadInput("train", "the training panel needs the trajectories", "give --trajectories")
        goals = [goal_task(store, index) for index in indices]
        tasks = tasks_with_trajectory(goals, trajectories, "is no training goal", "use the catalog it was made from")
    else:
        tasks = [goal_task(store, index) for index in _sample(indices, recipe.size, recipe.seed)]
    write_panel(out_path, Panel(BENCHMARK, split, tuple(tasks)))
    say(f"panel {split}: {len(tasks)} tasks")


def _sample(indices: range, count: int, seed: int) -> list[int]:
    """`count` of the indices (0: all), in order."""
    if count > len(indices):
        raise BadInput("goals", f"{len(indices)} goals are fewer than {count}", "ask for fewer or use a larger catalog")
    return sorted(random.Random(seed).sample(indices, count)) if count else list(indices)


def _random_episode(
    environment: WebshopEnvironment, max_steps: int, rng: random.Random
) -> tuple[tuple[Step, ...], bool]:
    feedback, steps = environment.reset(), []
    words = environment.task.split()
    while not feedback.done and len(steps) < max_steps:
        action = rng.choice(feedback.admissible)
        if action == SEARCH_CHOICE:
            start = rng.randrange(len(words))
            action = f"search[{' '.join(words[start : start + rng.randint(1, 6)])}]"
        steps.append(Step(feedback.observation, feedback.admissible, f"I try {action}.", action))
        feedback = environment.step(action)
    return tuple(steps), feedback.success


def _trajectory(
    store: Store, index: int, identifier: str, expert: str, success: bool, steps: tuple[Step, ...]
) -> Trajectory:
    task = goal_task(store, index)
    return Trajectory(
        id=identifier,
        benchmark=BENCHMARK,
        game=task.game,
        task=store.goals[index].instruction,
        task_type=task.task_type,
        expert=expert,
        success=success,
        steps=steps,
    )


def _manifest(out_jsonl: Path, corpus: list[Trajectory], rejected: Counter[str], goals: int) -> dict:
    return {
        "sha256": sha256_file(out_jsonl),
        "trajectories": len(corpus),
        "goals": goals,
        "rejected": dict(rejected),
        "task_types": dict(Counter(trajectory.task_type for trajectory in corpus)),
        "mean_steps": sum(len(trajectory.steps) for trajectory in corpus) / len(corpus),
    }
