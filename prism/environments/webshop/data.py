"""WebShop's data: catalogs and stores, the oracle and the random shopper, ETO's recordings, and panels."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.eto import EXPERT, REPEATED, Conversation
from prism.core.files import read_json
from prism.core.progress import say, track
from prism.core.recipes import setting
from prism.core.tiny import CONTINUED
from prism.core.trajectories import Step, Trajectory
from prism.environments.base import EXPERT_PLAYER, PLAYERS, RANDOM_PLAYER, Attempt, BenchmarkData, Environment, Task
from prism.environments.webshop import shopper
from prism.environments.webshop.environment import SEARCH_CHOICE, SPLITS, GoalSplit, WebshopEnvironment, goal_task
from prism.environments.webshop.generator import ASIN_PREFIX, CatalogRecipe, catalog_texts, generate_catalog
from prism.environments.webshop.goals import MODES, PRICE_LIMITS
from prism.environments.webshop.products import CatalogFiles
from prism.environments.webshop.shopper import Rejection
from prism.environments.webshop.store import TAGGED_TITLES, Store, compile_store

NAME = "webshop"
PLAYER_NAMES = {RANDOM_PLAYER: "random", EXPERT_PLAYER: shopper.NAME}
NO_GOAL = "its instruction is no goal of this catalog"
# goals that are not for training are left out whole: a trajectory of one would teach the answer to a test
HELD_OUT = {"test": "its goal is among the test goals", "dev": "its goal is among the dev goals"}
SEARCH = "search["
_PRICE = re.compile(r",? and price lower than [\d.]+ dollars")
_INSTRUCTION = re.compile(r"Instruction:\s*(?:\[SEP\]\s*)?(?P<text>[^\n\[]+)")
# the store's pages and buttons, and the shopper's thoughts
_STORE_WORDS = """
webshop instruction sep search click your query page total results back to next prev price rating n a description
features reviews buy now and lower than dollars thank you for shopping with us i try fits open it choose what was
asked all that is chosen none of these look at the first
"""
# a product number is two tokens: the prefix with the number's first digits, and its last two
# highest price limit of an instruction: a product without a price counts as 100 dollars, limits go four steps up
MAX_LIMIT = 140
_DIGIT_PAIRS = [f"{pair:02d}" for pair in range(100)]


@dataclass(frozen=True)
class StoreRecipe:
    """How a catalog is compiled.

    Attributes:
        seed: of prices drawn from ranges and of price limits in instructions.
        goals: goal lists to make, ``human``, ``synthetic`` or both.
        rows: use this many rows of the product file; 0 uses all.
        tagged_titles: tag the titles of a catalog with at most this many products now, for the rewards; titles of
            larger ones are tagged when they are first bought.
    """

    seed: int
    goals: tuple[str, ...] = ("human",)
    rows: int = 0
    tagged_titles: int = TAGGED_TITLES

    def __post_init__(self) -> None:
        if not self.goals or set(self.goals) - set(MODES):
            raise BadInput("goals", f"cannot make {list(self.goals)}", f"choose from {', '.join(MODES)}")
        for name in ("rows", "tagged_titles"):
            if getattr(self, name) < 0:
                raise BadInput(name, f"{getattr(self, name)} is negative", "give 0 or more")


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

    @property
    def tasks(self) -> int:
        """Training goals that are played; 0: all."""
        return self.max_goals


@dataclass(frozen=True)
class WebshopTranscriptsRecipe:
    """How transcripts for pre-training are collected.

    Attributes:
        goals: the goal list, ``human`` or ``synthetic``.
        tasks: training goals played.
        episodes: episodes of each.
        task_types: departments whose goals are played; none for all.
        noise: chance of the expert to misjudge a product, and to pass over an option.
    """

    goals: str
    tasks: int
    episodes: int
    max_steps: int
    seed: int
    split: GoalSplit = field(default_factory=GoalSplit)
    player: str = setting("who plays", "random", choices=PLAYERS)
    noise: float = setting("of the expert", 0.0, at_least=0, at_most=1)
    task_types: tuple[str, ...] = ()


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

    @property
    def tasks(self) -> int:
        """Training goals that may have a trajectory: all."""
        return 0


@dataclass(frozen=True)
class WebshopEtoRecipe:
    """How ETO's conversations are played again.

    Attributes:
        max_steps: environment steps of an episode.
        min_score: a purchase that scores less is dropped.
        goals: the goal list, ``human`` or ``synthetic``.
        split: sizes of the parts of the goal list.
    """

    max_steps: int
    min_score: float = 0.0
    goals: str = "human"
    split: GoalSplit = field(default_factory=GoalSplit)


class WebshopData(BenchmarkData):
    """A catalog, generated or released, compiled into a store; a task is a goal of one of its lists."""

    recipes: Mapping[str, type] = {
        "catalog": CatalogRecipe,
        "games": StoreRecipe,
        "trajectories": WebshopTrajectoriesRecipe,
        "transcripts": WebshopTranscriptsRecipe,
        "panel": WebshopPanelRecipe,
        "eto-trajectories": WebshopEtoRecipe,
    }

    def games_settings(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Prices and price limits of any catalog are drawn; one goal list is made."""
        return {"seed": config["catalog"]["seed"], "goals": [config["goals"]]}

    def make_catalog(self, out_dir: Path, recipe: CatalogRecipe) -> None:
        """Generate a catalog in the original file formats."""
        generate_catalog(out_dir, recipe)
        say(f"catalog: {recipe.products} products generated")

    def make_games(self, files: Path | None, out_dir: Path, recipe: StoreRecipe | None) -> None:
        """Compile a catalog in the original file formats: products, prices, goals and search index on disk.

        Raises:
            BadInput: a file is missing, broken off, or a row cannot be used.
        """
        if files is None or recipe is None:
            missing = "--files" if files is None else "--recipe"
            raise BadInput(missing, "is missing", "give the folder of a catalog and how it is compiled")
        compile_store(
            CatalogFiles.in_folder(files), out_dir, recipe.seed, recipe.goals, recipe.rows or None, recipe.tagged_titles
        )

    def training_tasks(
        self, data_dir: Path, recipe: WebshopTrajectoriesRecipe | WebshopTranscriptsRecipe | WebshopPanelRecipe
    ) -> list[Task]:
        """Training goals, drawn where the recipe wants fewer than all."""
        return _draw(_store(data_dir, recipe.goals), "train", recipe.tasks, recipe)

    def panel_tasks(self, data_dir: Path, split: str, recipe: WebshopPanelRecipe) -> list[Task]:
        """Goals of a part of the list: ``test`` or ``dev``."""
        return _draw(_store(data_dir, recipe.goals), split, recipe.size, recipe)

    def first_game(self, data_dir: Path) -> str:
        """The first goal of the list, which is for the test."""
        return f"{next(iter(read_json(data_dir / 'manifest.json')['goals']))}/0"

    def play_expert(self, data_dir: Path, recipe: WebshopTrajectoriesRecipe, tasks: Sequence[Task]) -> list[Attempt]:
        """The oracle shopper's episode with full score of each goal, or why there is none."""
        store = _store(data_dir, recipe.goals)
        results = []
        for task in tasks:
            index = _index(task)
            played = shopper.shop(WebshopEnvironment(store, index), store.goals[index], recipe.max_steps)
            if isinstance(played, Rejection):
                results.append(Attempt(None, played.reason))
            else:
                results.append(Attempt(_trajectory(store, index, task.id, shopper.NAME, True, played)))
        return results

    def play_transcripts(
        self, data_dir: Path, recipe: WebshopTranscriptsRecipe, tasks: Sequence[Task]
    ) -> list[list[Trajectory]]:
        """Actions drawn at random, searching with words of the instruction; or a hasty shopper."""
        store, player = _store(data_dir, recipe.goals), PLAYER_NAMES[recipe.player]
        results = []
        for task in tasks:
            environment, episodes = WebshopEnvironment(store, _index(task)), []
            for episode in range(recipe.episodes):
                identifier = f"{task.id}-{player}{episode}"
                rng = random.Random(f"{recipe.seed}/{identifier}")
                if recipe.player == EXPERT_PLAYER:
                    goal = store.goals[_index(task)]
                    steps, success = shopper.shop_hastily(environment, goal, recipe.max_steps, recipe.noise, rng)
                else:
                    steps, success = _random_episode(environment, recipe.max_steps, rng)
                episodes.append(_trajectory(store, _index(task), identifier, player, success, steps))
            results.append(episodes)
        return results

    def play_recorded(
        self, data_dir: Path, recipe: WebshopEtoRecipe, conversations: Sequence[Conversation], workers: int
    ) -> list[Attempt]:
        """ETO's conversations. One process does: a step takes milliseconds.

        A goal is found by its instruction; where several goals have the same, by the conversation's id, its number
        in the original's list of human goals.
        """
        store = _store(data_dir, recipe.goals)
        parts = {name: recipe.split.indices(name, len(store.goals)) for name in SPLITS}
        goals: dict[str, list[int]] = {}
        for index, goal in enumerate(store.goals):
            goals.setdefault(instruction_key(goal.instruction), []).append(index)
        attempts: list[Attempt] = []
        used: set[int] = set()
        for conversation in track(conversations, len(conversations), "ETO's conversations", "conversations"):
            found = goals.get(shopping_instruction(conversation.opening), [])
            numbered = [index for index in found if str(index) == conversation.identifier]
            # held out if any goal with this instruction is
            index = min(numbered or found, default=None)
            held_out = [HELD_OUT[name] for name in HELD_OUT if index in parts[name]]
            if index is None:
                attempts.append(Attempt(None, NO_GOAL))
            elif held_out:
                attempts.append(Attempt(None, held_out[0]))
            elif index in used:
                attempts.append(Attempt(None, REPEATED))
            else:
                attempt = _shop(WebshopEnvironment(store, index), goal_task(store, index), conversation, recipe)
                attempts.append(attempt)
                if attempt.trajectory:
                    used.add(index)
        return attempts

    def manifest(self, corpus: Sequence[Trajectory], played: Sequence[tuple[Task, Attempt]]) -> dict[str, Any]:
        """Counts of a corpus, and of goals without a trajectory by reason."""
        return {
            "trajectories": len(corpus),
            "goals": len(played),
            "rejected": dict(Counter(attempt.reason for _, attempt in played if attempt.trajectory is None)),
            "task_types": dict(Counter(trajectory.task_type for trajectory in corpus)),
            "mean_steps": sum(len(trajectory.steps) for trajectory in corpus) / len(corpus),
        }

    def words(self) -> set[str]:
        """Those of a generated catalog of up to 10,000 products, of its pages, and of the shopper."""
        texts = [_STORE_WORDS, *catalog_texts(), *(f"{limit:.2f}" for limit in PRICE_LIMITS if limit <= MAX_LIMIT)]
        numbers = {f"{ASIN_PREFIX.lower()}0000{pair}" for pair in _DIGIT_PAIRS} | {
            CONTINUED + pair for pair in _DIGIT_PAIRS
        }
        return set(re.findall(r"[a-z0-9]+", " ".join(texts).lower())) | numbers


@lru_cache(maxsize=1)
def _store(folder: Path, goals: str) -> Store:
    """A store, opened once for all chunks of tasks."""
    return Store(folder, goals)


def _index(task: Task) -> int:
    return int(task.game.partition("/")[2])


def _draw(
    store: Store,
    split: str,
    count: int,
    recipe: WebshopTrajectoriesRecipe | WebshopTranscriptsRecipe | WebshopPanelRecipe,
) -> list[Task]:
    """`count` goals of a part of the list (0: all), in order."""
    indices: Sequence[int] = recipe.split.indices(split, len(store.goals))
    if isinstance(recipe, WebshopTranscriptsRecipe) and recipe.task_types:
        indices = [index for index in indices if store.goals[index].category in recipe.task_types]
    if count > len(indices):
        raise BadInput("goals", f"{len(indices)} goals are fewer than {count}", "ask for fewer or use a larger catalog")
    if count:
        indices = sorted(random.Random(recipe.seed).sample(indices, count))
    return [goal_task(store, index) for index in indices]


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
        benchmark=NAME,
        game=task.game,
        task=store.goals[index].instruction,
        task_type=task.task_type,
        expert=expert,
        success=success,
        steps=steps,
    )


def _shop(environment: Environment, task: Task, conversation: Conversation, recipe: WebshopEtoRecipe) -> Attempt:
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
        return Attempt(None, "does not buy")
    if feedback.score < recipe.min_score:
        return Attempt(None, f"scores less than {recipe.min_score}")
    return Attempt(
        Trajectory(task.id, NAME, task.game, environment.task, task.task_type, EXPERT, feedback.success, tuple(steps))
    )


def shopping_instruction(opening: str) -> str:
    """The shopper's instruction in WebShop's first page, as `instruction_key`; empty where there is none."""
    found = _INSTRUCTION.search(opening)
    return instruction_key(found["text"]) if found else ""


def instruction_key(instruction: str) -> str:
    """What an instruction is recognised by: no case, no white space, no price limit (drawn anew by every version)."""
    return " ".join(_PRICE.sub("", instruction.lower()).split()).rstrip(".")
