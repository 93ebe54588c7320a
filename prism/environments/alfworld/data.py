"""ALFWorld's data: the experts and the random policy in the real engine, ETO's recordings, and panels."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prism.core.benchmarks import DATASET
from prism.core.errors import BadInput
from prism.core.eto import EXPERT, NO_TASK, REPEATED, Conversation
from prism.core.files import read_json
from prism.core.recipes import setting
from prism.core.trajectories import Step, Trajectory
from prism.environments.alfworld.dataset import GamesRecipe, generate_games, index_dataset, read_games
from prism.environments.alfworld.detours import Detours
from prism.environments.alfworld.engine import AlfworldEnvironment
from prism.environments.alfworld.expert import HandcodedExpert, Noise, PlannerExpert, Play, draw_action, play
from prism.environments.base import EXPERT_PLAYER, PLAYERS, Attempt, BenchmarkData, Environment, Task, in_parallel

NAME = "alfworld"
_PUT = re.compile(r"put (?P<thing>.+?) (?:in/on|in|on) (?P<place>.+)")
_TOGGLE = re.compile(r"toggle (?P<thing>\S+ \d+)(?: .+)?")


# the compact prompt, the expert's thoughts, and the engine's answers that are not in the grammar
_OWN_WORDS = """
task past now actions you see nothing happens room looking quickly around carry find check here take closed open put
look under use clean heat cool with in on at the is it now then first next need already done have holding must go to
from move examine inventory help switch off lamp light second another one two both again try other of for and
sliced turned turn
"""


@dataclass(frozen=True)
class TrajectoriesRecipe:
    """How expert trajectories are collected.

    Attributes:
        max_steps: environment steps of an episode, failed ones included.
        noise: share of steps before which a failed action is executed and recorded with ``demonstrated=False``.
        seed: of the noise and of the handcoded expert's own random choices.
        max_games: use this many games of the training split (task types in turn); 0 uses all.
        detours: trajectories that waste steps. A recipe without them has no such key.
    """

    max_steps: int
    noise: float
    seed: int
    max_games: int = 0
    detours: Detours = setting("the positive control", default_factory=Detours, only={"has_detours": (True,)})

    def __post_init__(self) -> None:
        if not 0 <= self.noise < 1:
            raise BadInput("noise", f"{self.noise} is not a share", "give a number in [0, 1)")
        if self.max_steps < 1:
            raise BadInput("max_steps", f"{self.max_steps} leaves no step", "give at least 1")

    @property
    def has_detours(self) -> bool:
        """Whether a part of the corpus is made of detours."""
        return self.detours.share > 0

    @property
    def tasks(self) -> int:
        """Training games that are played; 0: all."""
        return self.max_games


@dataclass(frozen=True)
class TranscriptsRecipe:
    """How transcripts for pre-training are collected.

    Attributes:
        games: number of training games used.
        episodes: episodes played in each.
        max_steps: environment steps of an episode.
        task_types: types of task that are played; none for all.
        noise: share of steps before which the expert wastes one.
    """

    games: int
    episodes: int
    max_steps: int
    seed: int
    player: str = setting("who plays", "random", choices=PLAYERS)
    noise: float = setting("of the expert", 0.0, at_least=0, at_most=1)
    task_types: tuple[str, ...] = ()

    @property
    def tasks(self) -> int:
        """Training games that are played."""
        return self.games


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

    @property
    def tasks(self) -> int:
        """Training games that may have a trajectory: all."""
        return 0


@dataclass(frozen=True)
class EtoRecipe:
    """How ETO's conversations are played again.

    Attributes:
        max_steps: environment steps of an episode; one that does not win is dropped.
    """

    max_steps: int


class AlfworldData(BenchmarkData):
    """Generated games or the released ones. The handcoded expert plays first; where it does not win, the planner."""

    recipes: Mapping[str, type] = {
        "games": GamesRecipe,
        "trajectories": TrajectoriesRecipe,
        "transcripts": TranscriptsRecipe,
        "panel": PanelRecipe,
        "eto-trajectories": EtoRecipe,
    }

    def games_settings(self, config: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The released games are taken as they are."""
        return None if config["source"] == DATASET else config["games"]

    def make_games(self, files: Path | None, out_dir: Path, recipe: GamesRecipe | None) -> None:
        """Link and list the released games, or generate some."""
        if files is not None:
            index_dataset(files, out_dir)
        elif recipe is None:
            raise BadInput("--recipe", "is missing", "give the numbers of games, or --files with the released ones")
        else:
            generate_games(out_dir, recipe)

    def training_tasks(
        self, data_dir: Path, recipe: TrajectoriesRecipe | TranscriptsRecipe | PanelRecipe
    ) -> list[Task]:
        """Games of the training split, task types in turn."""
        wanted = recipe.task_types if isinstance(recipe, TranscriptsRecipe) else ()
        games = [game for game in read_games(data_dir, "train") if not wanted or game.task_type in wanted]
        return spread(games, recipe.tasks)

    def panel_tasks(self, data_dir: Path, split: str, recipe: PanelRecipe) -> list[Task]:
        """Shuffled games of a split, task types in turn, by id.

        Raises:
            BadInput: the split is unknown or smaller than the panel.
        """
        games = read_games(data_dir, split)
        if recipe.size > len(games):
            problem = f"{len(games)} games cannot fill a panel of {recipe.size}"
            raise BadInput(f"{data_dir}: {split}", problem, "ask for fewer or make more")
        random.Random(recipe.seed).shuffle(games)
        return sorted(spread(games, recipe.size), key=lambda task: task.id)

    def first_game(self, data_dir: Path) -> str:
        """The first of the seen games."""
        return read_games(data_dir, "seen")[0].game

    def play_expert(self, data_dir: Path, recipe: TrajectoriesRecipe, tasks: Sequence[Task]) -> list[Attempt]:
        """A won episode of each game, or why neither expert won within the steps."""
        results: list[Attempt] = []
        # of all tasks: a worker has only some of them
        wasteful = recipe.detours.choose(self.training_tasks(data_dir, recipe)) if recipe.has_detours else None
        for task, environment in environments(data_dir, tasks, facts=True):
            reason = ""
            detour = task.id in wasteful if wasteful is not None else None
            noise = Noise(recipe.noise, recipe.detours.noise if detour else 0.0)
            for expert in (HandcodedExpert, PlannerExpert):
                rng = random.Random(f"{recipe.seed}/{task.id}/{expert.name}")
                episode = play(environment, expert, recipe.max_steps, noise, rng)
                if episode.success:
                    results.append(Attempt(_expert_trajectory(data_dir, task, task.id, episode), detour=detour))
                    break
                reason = episode.error or f"not won within {recipe.max_steps} steps"
            else:
                results.append(Attempt(None, reason, detour))
        return results

    def play_transcripts(
        self, data_dir: Path, recipe: TranscriptsRecipe, tasks: Sequence[Task]
    ) -> list[list[Trajectory]]:
        """Admissible actions drawn at random, verbs first, thoughts name the action; or the expert, won or not."""
        results, expert, noise = [], recipe.player == EXPERT_PLAYER, Noise(failed=0.0, aimless=recipe.noise)
        for task, environment in environments(data_dir, tasks, facts=expert):
            episodes = []
            for number in range(recipe.episodes):
                name, rng = f"{task.id}#{number}", random.Random(f"{recipe.seed}/{task.id}/{number}")
                if expert:
                    episode = play(environment, HandcodedExpert, recipe.max_steps, noise, rng)
                    episodes.append(_expert_trajectory(data_dir, task, name, episode))
                else:
                    episodes.append(_random_episode(environment, task, name, recipe.max_steps, rng))
            results.append(episodes)
        return results

    def play_recorded(
        self, data_dir: Path, recipe: EtoRecipe, conversations: Sequence[Conversation], workers: int
    ) -> list[Attempt]:
        """ETO's conversations; a game is found by the name of its trial folder."""
        by_trial: dict[str, list[Task]] = {}
        for task in read_games(data_dir, "train"):
            by_trial.setdefault(Path(task.game).parent.name, []).append(task)
        found: dict[str, Conversation] = {}
        tasks: list[Task] = []
        attempts: list[Attempt] = []
        for conversation in conversations:
            candidates = by_trial.get(conversation.trial, [])
            if len(candidates) != 1:
                attempts.append(Attempt(None, NO_TASK))
            elif candidates[0].id in found:
                attempts.append(Attempt(None, REPEATED))
            else:
                found[candidates[0].id] = conversation
                tasks.append(candidates[0])
        work = partial(_play_conversations, data_dir, recipe, found)
        return attempts + [attempt for _, attempt in in_parallel(work, tasks, workers, "ETO's conversations")]

    def words(self) -> set[str]:
        """Its objects, receptacles, goal templates, grammar, and the prompt's own."""
        from alfworld.gen import constants
        from alfworld.gen.goal_library import gdict
        from alfworld.info import ALFRED_TWL2_PATH

        names = [*constants.OBJECTS, *constants.OBJECTS_SET, *constants.RECEPTACLES, *constants.MOVABLE_RECEPTACLES]
        templates = [template for goal in gdict.values() for template in goal.get("templates", ())]
        grammar = Path(ALFRED_TWL2_PATH).read_text(encoding="utf-8")
        spoken = re.findall(r'"rhs":\s*"([^"]*)"|template :: "([^"]*)"', grammar)
        texts = [_OWN_WORDS, *templates, *(" ".join(pair) for pair in spoken)]
        # fillers such as {o.name}, {r} and #task# are replaced before anything is said
        plain = re.sub(r"\{[^}]*\}|#[^#]*#|\\n", " ", " ".join(texts))
        return {name.lower() for name in names} | set(re.findall(r"[a-z]+", plain.lower()))


def spread(tasks: Sequence[Task], count: int) -> list[Task]:
    """`count` tasks (0: all), task types in turn, the order within a type kept."""
    by_type: dict[str, list[Task]] = {}
    for task in tasks:
        by_type.setdefault(task.task_type, []).append(task)
    ranked = [(rank, name, task) for name, group in by_type.items() for rank, task in enumerate(group)]
    ranked.sort(key=lambda item: item[:2])
    chosen = [task for _, _, task in ranked]
    return chosen[:count] if count else chosen


def environments(games_dir: Path, tasks: Sequence[Task], *, facts: bool) -> Iterator[tuple[Task, AlfworldEnvironment]]:
    """Each task with an environment that has it loaded; the same engine serves them all."""
    environment = None
    for task in tasks:
        if environment is None:
            environment = AlfworldEnvironment(games_dir / task.game, facts=facts)
        else:
            environment.load(games_dir / task.game)
        yield task, environment


def _expert_trajectory(games_dir: Path, task: Task, name: str, episode: Play) -> Trajectory:
    target = read_json(games_dir / Path(task.game).parent / "traj_data.json")["pddl_params"]["object_target"].lower()
    steps, held = [], ""
    for step in episode.steps:
        thought = think(step.action, held, target) if step.demonstrated else ""
        steps.append(Step(step.before.observation, step.before.admissible, thought, step.action, step.demonstrated))
        if step.demonstrated:
            held = _held_after(step.action, held)
    return Trajectory(
        id=name,
        benchmark=NAME,
        game=task.game,
        task=episode.task,
        task_type=task.task_type,
        expert=episode.expert,
        success=episode.success,
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


def _random_episode(
    environment: AlfworldEnvironment, task: Task, name: str, max_steps: int, rng: random.Random
) -> Trajectory:
    feedback = environment.reset()
    steps = []
    while not feedback.done and len(steps) < max_steps:
        action = draw_action(feedback.admissible, rng)
        steps.append(Step(feedback.observation, feedback.admissible, f"{action.capitalize()}.", action))
        feedback = environment.step(action)
    return Trajectory(
        id=name,
        benchmark=NAME,
        game=task.game,
        task=environment.task,
        task_type=task.task_type,
        expert="random",
        success=feedback.success,
        steps=tuple(steps),
    )


def _play_conversations(
    games_dir: Path, recipe: EtoRecipe, found: Mapping[str, Conversation], tasks: Sequence[Task]
) -> list[Attempt]:
    return [
        _play_conversation(environment, task, found[task.id], recipe)
        for task, environment in environments(games_dir, tasks, facts=False)
    ]


def _play_conversation(environment: Environment, task: Task, conversation: Conversation, recipe: EtoRecipe) -> Attempt:
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
        return Attempt(None, "does not win its game")
    return Attempt(Trajectory(task.id, NAME, task.game, environment.task, task.task_type, EXPERT, True, tuple(steps)))


def modern_actions(action: str) -> list[str]:
    """An ALFWorld action as recorded, and as the present grammar writes it; the first admissible one is meant.

    The recordings say ``put mug 1 in/on desk 1`` where the engine says ``move mug 1 to desk 1``, and may say
    ``toggle desklamp 1`` for ``use desklamp 1``.
    """
    meanings = [action]
    if found := _PUT.fullmatch(action):
        meanings.append(f"move {found['thing']} to {found['place']}")
    if found := _TOGGLE.fullmatch(action):
        meanings.append(f"use {found['thing']}")
    return meanings
