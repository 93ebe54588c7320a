"""Stage: ETO's expert conversations, played again in today's environment, as trajectories.

The recordings hold what another version of the environment said, without the admissible actions that every prompt
shows. Only the expert's thoughts and actions are taken over; observations, admissible actions and success come from the
environment here. A conversation that does not lead to the goal any more is dropped and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.eto import Conversation, instruction_key, modern_actions, read_conversations, shopping_instruction
from prism.core.files import sha256_file, write_json
from prism.core.progress import say, track
from prism.core.trajectories import Step, Trajectory, write_trajectories
from prism.environments.base import Environment, Task
from prism.environments.webshop.environment import SPLITS, GoalSplit, WebshopEnvironment, goal_task
from prism.environments.webshop.store import Store
from prism.stages.games import read_games
from prism.stages.trajectories import environments, in_parallel

EXPERT = "eto"
NO_GAME, REPEATED = "its task is not among the training tasks", "repeats a task"
NO_GOAL = "its instruction is no goal of this catalog"
# goals that are not for training are left out whole: a trajectory of one would teach the answer to a test
HELD_OUT = {"test": "its goal is among the test goals", "dev": "its goal is among the dev goals"}
SEARCH = "search["


@dataclass(frozen=True)
class EtoRecipe:
    """How conversations are played again.

    Attributes:
        max_steps: environment steps of an episode.
        min_score: WebShop: a purchase that scores less is dropped (ALFWorld: an episode must be won).
        goals: WebShop: the goal list, ``human`` or ``synthetic``.
        split: WebShop: sizes of the parts of the goal list.
    """

    max_steps: int
    min_score: float = 0.0
    goals: str = "human"
    split: GoalSplit = field(default_factory=GoalSplit)


@dataclass(frozen=True)
class Replay:
    """One conversation played again: a trajectory, or the reason why there is none."""

    trajectory: Trajectory | None
    reason: str = ""


def replay_conversations(
    benchmark: str,
    source: Path,
    games_dir: Path,
    out_jsonl: Path,
    manifest_path: Path,
    recipe: EtoRecipe,
    workers: int = 1,
) -> None:
    """Write the conversations of one benchmark as trajectories, sorted by id; each task once.

    Args:
        source: ETO's file.
        games_dir: the benchmark's data folder (WebShop: the compiled store).

    Raises:
        BadInput: the file is not in ETO's format, the benchmark is unknown, or no conversation can be used.
    """
    players = {"alfworld": _replay_alfworld, "webshop": _replay_webshop}
    if benchmark not in players:
        raise BadInput("--benchmark", f"unknown benchmark {benchmark!r}", f"use one of {', '.join(players)}")
    conversations = read_conversations(source)
    replays = players[benchmark](conversations, games_dir, recipe, workers)
    corpus = [replay.trajectory for replay in replays if replay.trajectory]
    if not corpus:
        raise BadInput(source, "no conversation leads to its goal here", "check that the games are the released ones")
    write_trajectories(out_jsonl, sorted(corpus, key=lambda trajectory: trajectory.id))
    dropped = Counter(replay.reason for replay in replays if replay.reason)
    write_json(manifest_path, _manifest(benchmark, source, out_jsonl, conversations, corpus, dropped))
    say(f"{len(corpus)} of {len(conversations)} conversations; dropped: {dict(dropped) or 'none'}")


def _manifest(
    benchmark: str,
    source: Path,
    out_jsonl: Path,
    conversations: Sequence[Conversation],
    corpus: Sequence[Trajectory],
    dropped: Mapping[str, int],
) -> dict[str, Any]:
    steps = [step for trajectory in corpus for step in trajectory.steps]
    return {
        "benchmark": benchmark,
        "source_sha256": sha256_file(source),
        "sha256": sha256_file(out_jsonl),
        "conversations": len(conversations),
        "trajectories": len(corpus),
        "successful": sum(trajectory.success for trajectory in corpus),
        "by_type": dict(sorted(Counter(trajectory.task_type for trajectory in corpus).items())),
        "by_expert": {EXPERT: len(corpus)},
        "steps": len(steps),
        "undemonstrated_steps": sum(not step.demonstrated for step in steps),
        "longest": max(len(trajectory.steps) for trajectory in corpus),
        "dropped": dict(sorted(dropped.items())),
    }


def _replay_alfworld(
    conversations: Sequence[Conversation], games_dir: Path, recipe: EtoRecipe, workers: int
) -> list[Replay]:
    """ALFWorld's conversations, in parallel; a game is found by the name of its trial folder."""
    by_trial: dict[str, list[Task]] = {}
    for task in read_games(games_dir, "train"):
        by_trial.setdefault(Path(task.game).parent.name, []).append(task)
    found: dict[str, Conversation] = {}
    tasks: list[Task] = []
    replays: list[Replay] = []
    for conversation in conversations:
        candidates = by_trial.get(conversation.trial, [])
        if len(candidates) != 1:
            replays.append(Replay(None, NO_GAME))
        elif candidates[0].id in found:
            replays.append(Replay(None, REPEATED))
        else:
            found[candidates[0].id] = conversation
            tasks.append(candidates[0])
    work = partial(_play_games, games_dir, recipe, found)
    return replays + [replay for _, replay in in_parallel(work, tasks, workers, "ETO's conversations")]


def _play_games(
    games_dir: Path, recipe: EtoRecipe, found: Mapping[str, Conversation], tasks: Sequence[Task]
) -> list[Replay]:
    return [
        _play_game(environment, task, found[task.id], recipe)
        for task, environment in environments(games_dir, tasks, facts=False)
    ]


def _play_game(environment: Environment, task: Task, conversation: Conversation, recipe: EtoRecipe) -> Replay:
    """Play one conversation; an action that the engine does not admit stays in the history and is not imitated."""
    feedback = environment.reset()
    steps: list[Step] = []
    for thought, recorded in conversation.steps[: recipe.max_steps]:
        meant = [action for action in modern_actions(recorded) if action in feedback.admissible]
        action = meant[0] if meant else recorded
        steps.append(Step(feedback.observation, feedback.admissible, thought, action, bool(meant)))
        feedback = environment.step(action)
        if feedback.done:
            break
    if not feedback.success:
        return Replay(None, "does not win its game")
    return Replay(_trajectory("alfworld", task, environment.task, True, steps))


def _replay_webshop(
    conversations: Sequence[Conversation], store_dir: Path, recipe: EtoRecipe, workers: int
) -> list[Replay]:
    """WebShop's conversations. One process does: a step takes milliseconds.

    A goal is found by its instruction; where several goals have the same, by the conversation's id, which is the goal's
    number in the original's list of human goals.
    """
    store = Store(store_dir, recipe.goals)
    parts = {name: recipe.split.indices(name, len(store.goals)) for name in SPLITS}
    goals: dict[str, list[int]] = {}
    for index, goal in enumerate(store.goals):
        goals.setdefault(instruction_key(goal.instruction), []).append(index)
    replays: list[Replay] = []
    used: set[int] = set()
    for conversation in track(conversations, len(conversations), "ETO's conversations", "conversations"):
        found = goals.get(shopping_instruction(conversation.opening), [])
        numbered = [index for index in found if str(index) == conversation.identifier]
        # held out if any goal with this instruction is
        index = min(numbered or found, default=None)
        held_out = [HELD_OUT[name] for name in HELD_OUT if index in parts[name]]
        if index is None:
            replays.append(Replay(None, NO_GOAL))
        elif held_out:
            replays.append(Replay(None, held_out[0]))
        elif index in used:
            replays.append(Replay(None, REPEATED))
        else:
            replay = _shop(WebshopEnvironment(store, index), goal_task(store, index), conversation, recipe)
            replays.append(replay)
            if replay.trajectory:
                used.add(index)
    return replays


def _shop(environment: Environment, task: Task, conversation: Conversation, recipe: EtoRecipe) -> Replay:
    """Play one conversation until the purchase; a click on what is not there is not imitated."""
    feedback = environment.reset()
    steps: list[Step] = []
    for thought, recorded in conversation.steps[: recipe.max_steps]:
        action = recorded.lower()
        possible = action in feedback.admissible or (
            action.startswith(SEARCH) and any(choice.startswith(SEARCH) for choice in feedback.admissible)
        )
        steps.append(Step(feedback.observation, feedback.admissible, thought, action, possible))
        feedback = environment.step(action)
        if feedback.done:
            break
    if not feedback.done:
        return Replay(None, "does not buy")
    if feedback.score < recipe.min_score:
        return Replay(None, f"scores less than {recipe.min_score}")
    return Replay(_trajectory("webshop", task, environment.task, feedback.success, steps))


def _trajectory(benchmark: str, task: Task, words: str, success: bool, steps: Sequence[Step]) -> Trajectory:
    return Trajectory(
        id=task.id,
        benchmark=benchmark,
        game=task.game,
        task=words,
        task_type=task.task_type,
        expert=EXPERT,
        success=success,
        steps=tuple(steps),
    )
