"""Stages: expert trajectories, and transcripts of a random policy, played in the real ALFWorld engine."""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_file, write_json
from prism.core.progress import say, track
from prism.core.trajectories import Step, Trajectory, read_trajectories, write_trajectories
from prism.environments.alfworld.engine import AlfworldEnvironment
from prism.environments.alfworld.expert import HandcodedExpert, PlannerExpert, Play, play
from prism.environments.base import Task
from prism.stages.games import read_games

GAMES_PER_CHUNK = 8

Result = TypeVar("Result")


@dataclass(frozen=True)
class TrajectoriesRecipe:
    """How expert trajectories are collected.

    Attributes:
        max_steps: environment steps of an episode, failed ones included.
        noise: share of steps before which a failed action is executed and recorded with ``demonstrated=False``.
        seed: of the noise and of the handcoded expert's own random choices.
        max_games: use this many games of the training split (task types in turn); 0 uses all.
    """

    max_steps: int
    noise: float
    seed: int
    max_games: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.noise < 1:
            raise BadInput("noise", f"{self.noise} is not a share", "give a number in [0, 1)")
        if self.max_steps < 1:
            raise BadInput("max_steps", f"{self.max_steps} leaves no step", "give at least 1")


@dataclass(frozen=True)
class RandomTranscriptsRecipe:
    """How transcripts of a random policy are collected.

    Attributes:
        games: number of training games used.
        episodes: episodes played in each.
        max_steps: environment steps of an episode.
    """

    games: int
    episodes: int
    max_steps: int
    seed: int


def collect_trajectories(
    games_dir: Path, out_jsonl: Path, manifest_path: Path, recipe: TrajectoriesRecipe, workers: int = 1
) -> None:
    """Let the experts play every training game and write the episodes that were won, sorted by id.

    The handcoded expert plays first, as in ALFWorld; where it does not win, the planner does. Games that neither wins
    within `max_steps` are dropped and counted in the manifest. The result does not depend on `workers`.

    Raises:
        BadInput: a game does not load, or no game was won.
    """
    tasks = spread(read_games(games_dir, "train"), recipe.max_games)
    work = partial(_expert_episode, games_dir, recipe)
    corpus: list[Trajectory] = []
    dropped: list[dict[str, str]] = []
    for task, (trajectory, reason) in in_parallel(work, tasks, workers, "expert trajectories"):
        if trajectory is None:
            dropped.append({"id": task.id, "task_type": task.task_type, "reason": reason})
        else:
            corpus.append(trajectory)
    if not corpus:
        raise BadInput(games_dir, "no game was won by an expert", "raise max_steps or generate smaller games")
    write_trajectories(out_jsonl, sorted(corpus, key=lambda trajectory: trajectory.id))
    write_json(manifest_path, _manifest(out_jsonl, corpus, dropped, len(tasks)))
    say(f"{len(corpus)} trajectories, {len(dropped)} games dropped")


def import_trajectories(source: Path, out_jsonl: Path, manifest_path: Path) -> None:
    """Check a corpus of the user's own and take it over, sorted by id.

    Raises:
        BadInput: names file and line of the first record that cannot be used.
    """
    corpus = sorted(read_trajectories(source), key=lambda trajectory: trajectory.id)
    write_trajectories(out_jsonl, corpus)
    write_json(manifest_path, _manifest(out_jsonl, corpus, [], len(corpus)))
    say(f"{len(corpus)} trajectories")


def collect_random_transcripts(
    games_dir: Path, out_jsonl: Path, recipe: RandomTranscriptsRecipe, workers: int = 1
) -> None:
    """Play training games with admissible actions drawn at random, verbs first; thoughts name the action.

    They teach a tiny backbone the language of the environment and of the prompt, but not how tasks are solved.

    Raises:
        BadInput: a game does not load.
    """
    tasks = spread(read_games(games_dir, "train"), recipe.games)
    work = partial(_random_episodes, games_dir, recipe)
    corpus = [
        trajectory for _, episodes in in_parallel(work, tasks, workers, "random transcripts") for trajectory in episodes
    ]
    write_trajectories(out_jsonl, sorted(corpus, key=lambda trajectory: trajectory.id))


def spread(tasks: Sequence[Task], count: int) -> list[Task]:
    """`count` tasks (0: all), task types in turn, the order within a type kept."""
    by_type: dict[str, list[Task]] = {}
    for task in tasks:
        by_type.setdefault(task.task_type, []).append(task)
    ranked = [(rank, name, task) for name, group in by_type.items() for rank, task in enumerate(group)]
    ranked.sort(key=lambda item: item[:2])
    chosen = [task for _, _, task in ranked]
    return chosen[:count] if count else chosen


def in_parallel(
    work: Callable[[Sequence[Task]], list[Result]], tasks: list[Task], workers: int, what: str
) -> Iterator[tuple[Task, Result]]:
    """Apply `work` to chunks of tasks in worker processes; results come in the order of the tasks."""
    chunks = [tasks[start : start + GAMES_PER_CHUNK] for start in range(0, len(tasks), GAMES_PER_CHUNK)]
    if workers <= 1:
        yield from _unpacked(chunks, map(work, chunks), len(tasks), what)
        return
    # spawn: a forked child would inherit locks that threads of torch or Ray hold at that moment
    with multiprocessing.get_context("spawn").Pool(min(workers, len(chunks))) as pool:
        yield from _unpacked(chunks, pool.imap(work, chunks), len(tasks), what)


def _unpacked(
    chunks: list[list[Task]], results: Iterator[list[Result]], total: int, what: str
) -> Iterator[tuple[Task, Result]]:
    pairs = (pair for chunk, found in zip(chunks, results, strict=True) for pair in zip(chunk, found, strict=True))
    yield from track(pairs, total, what, "games")


def environments(games_dir: Path, tasks: Sequence[Task], *, facts: bool) -> Iterator[tuple[Task, AlfworldEnvironment]]:
    """Each task with an environment that has it loaded; the same engine serves them all."""
    environment = None
    for task in tasks:
        if environment is None:
            environment = AlfworldEnvironment(games_dir / task.game, facts=facts)
        else:
            environment.load(games_dir / task.game)
        yield task, environment


def _expert_episode(
    games_dir: Path, recipe: TrajectoriesRecipe, tasks: Sequence[Task]
) -> list[tuple[Trajectory | None, str]]:
    """A won trajectory for each task, or None and the reason why there is none."""
    results: list[tuple[Trajectory | None, str]] = []
    for task, environment in environments(games_dir, tasks, facts=True):
        reason = ""
        for expert in (HandcodedExpert, PlannerExpert):
            rng = random.Random(f"{recipe.seed}/{task.id}/{expert.name}")
            episode = play(environment, expert, recipe.max_steps, recipe.noise, rng)
            if episode.success:
                results.append((_trajectory(games_dir, task, episode), ""))
                break
            reason = episode.error or f"not won within {recipe.max_steps} steps"
        else:
            results.append((None, reason))
    return results


def _trajectory(games_dir: Path, task: Task, episode: Play) -> Trajectory:
    target = read_json(games_dir / Path(task.game).parent / "traj_data.json")["pddl_params"]["object_target"].lower()
    steps, held = [], ""
    for step in episode.steps:
        thought = think(step.action, held, target) if step.demonstrated else ""
        steps.append(Step(step.before.observation, step.before.admissible, thought, step.action, step.demonstrated))
        if step.demonstrated:
            held = _held_after(step.action, held)
    return Trajectory(
        id=task.id,
        benchmark="alfworld",
        game=task.game,
        task=episode.task,
        task_type=task.task_type,
        expert=episode.expert,
        success=True,
        steps=tuple(steps),
    )


def _held_after(action: str, held: str) -> str:
    """The object in the agent's hand after an action that succeeded."""
    words = action.split()
    if words[0] == "take":
        return " ".join(words[1:3])
    return "" if words[0] == "move" else held


def think(action: str, held: str, target: str) -> str:
    """The expert's reason for an action, in one short sentence.

    Args:
        held: object in the agent's hand (``mug 1``), or empty.
        target: class of the object that the task is about.
    """
    words = action.split()
    thing, place = " ".join(words[1:3]), " ".join(words[-2:])
    match words[0]:
        case "go":
            return f"Carry {held} to {place}." if held else f"Find {target}, check {place}."
        case "take":
            return f"{thing} is here, take it."
        case "open":
            return f"{thing} is closed, open it."
        case "move":
            return f"Put {held} in {place}."
        case "heat" | "cool" | "clean":
            return f"{words[0].capitalize()} {thing} with {place}."
        case "use":
            return f"Look at {held} under {thing}."
        case _:
            return f"{action.capitalize()}."


def _random_episodes(games_dir: Path, recipe: RandomTranscriptsRecipe, tasks: Sequence[Task]) -> list[list[Trajectory]]:
    results = []
    for task, environment in environments(games_dir, tasks, facts=False):
        episodes = []
        for number in range(recipe.episodes):
            rng = random.Random(f"{recipe.seed}/{task.id}/{number}")
            episodes.append(_random_episode(environment, task, number, recipe.max_steps, rng))
        results.append(episodes)
    return results


def _random_episode(
    environment: AlfworldEnvironment, task: Task, number: int, max_steps: int, rng: random.Random
) -> Trajectory:
    feedback = environment.reset()
    steps = []
    while not feedback.done and len(steps) < max_steps:
        action = draw_action(feedback.admissible, rng)
        steps.append(Step(feedback.observation, feedback.admissible, f"{action.capitalize()}.", action))
        feedback = environment.step(action)
    return Trajectory(
        id=f"{task.id}#{number}",
        benchmark="alfworld",
        game=task.game,
        task=environment.task,
        task_type=task.task_type,
        expert="random",
        success=feedback.success,
        steps=tuple(steps),
    )


def draw_action(admissible: Sequence[str], rng: random.Random) -> str:
    """A random admissible action: first a verb, then one of its actions, each with equal chances.

    Without this, "go to" would crowd out everything else. ``help`` is never drawn.
    """
    by_verb: dict[str, list[str]] = {}
    for action in admissible:
        if action != "help":
            by_verb.setdefault(action.split()[0], []).append(action)
    return rng.choice(by_verb[rng.choice(sorted(by_verb))])


def _manifest(out_jsonl: Path, corpus: list[Trajectory], dropped: list[dict[str, str]], games: int) -> dict[str, Any]:
    """What a corpus holds: counts, hash, and which games were dropped for what reason."""
    steps = [len(trajectory.steps) for trajectory in corpus]
    return {
        "benchmark": corpus[0].benchmark,
        "sha256": sha256_file(out_jsonl),
        "games": games,
        "trajectories": len(corpus),
        "by_type": dict(sorted(Counter(trajectory.task_type for trajectory in corpus).items())),
        "by_expert": dict(sorted(Counter(trajectory.expert for trajectory in corpus).items())),
        "steps": sum(steps),
        "undemonstrated_steps": sum(not step.demonstrated for trajectory in corpus for step in trajectory.steps),
        "longest": max(steps),
        "dropped": sorted(dropped, key=lambda entry: entry["id"]),
    }
