"""WebShop behind the interface that all benchmarks share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prism.core.episodes import Feedback
from prism.core.errors import BadInput
from prism.environments.base import Task
from prism.environments.webshop.goals import MODES, Mode
from prism.environments.webshop.pages import SEPARATOR, Page
from prism.environments.webshop.rewards import score_purchase
from prism.environments.webshop.session import Session
from prism.environments.webshop.store import Store

SEARCH_CHOICE = "search[<your query>]"
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class GoalSplit:
    """How the shuffled goal list is divided: the first `test` goals, the next `dev` goals, the rest for training.

    The defaults are the benchmark's own division.
    """

    test: int = 500
    dev: int = 1000

    def indices(self, split: str, goals: int) -> range:
        """Goal indices of a split.

        Raises:
            BadInput: the split is unknown, or no goal is left for training.
        """
        if goals <= self.test + self.dev:
            raise BadInput(
                "goal split", f"{goals} goals leave none for training", "lower test and dev, or use a larger catalog"
            )
        bounds = {
            "test": (0, self.test),
            "dev": (self.test, self.test + self.dev),
            "train": (self.test + self.dev, goals),
        }
        if split not in bounds:
            raise BadInput(split, "is not a split", f"use one of {', '.join(SPLITS)}")
        return range(*bounds[split])


def goal_task(store: Store, index: int) -> Task:
    """The goal as a panel lists it; its type is the department."""
    return Task(f"{store.mode}-{index:05d}", store.goals[index].category, f"{store.mode}/{index}")


class WebshopEnvironment:
    """One goal in a store.

    The observation is the page's text after the instruction, each part in quotes. The score is the reward of the
    purchase, 0 before it; success is a score of exactly 1. After the purchase the episode is over and nothing changes.
    """

    def __init__(self, store: Store, index: int):
        """Raises `BadInput` where the store has no such goal."""
        if not 0 <= index < len(store.goals):
            raise BadInput(store.folder, f"has no {store.mode} goal {index}", f"it has {len(store.goals)}")
        self._store, self._index = store, index
        self.task = store.goals[index].instruction
        self._session: Session | None = None
        self._feedback = Feedback("", ())

    @property
    def store(self) -> Store:
        """Where the shopper is."""
        return self._store

    @property
    def page(self) -> Page:
        """The page that is open."""
        return self._session.page

    def reset(self) -> Feedback:
        """Start at the search page; random searches repeat from reset to reset."""
        goal, rng = self._store.goals[self._index], self._store.rng_after_opening()
        self._session = Session(self._store, goal, score_purchase, rng, str(self._index))
        self._feedback = self._describe()
        return self._feedback

    def step(self, action: str) -> Feedback:
        """Carry out ``search[words]`` or ``click[text]``; anything else leaves the page as it is."""
        if self._feedback.done:
            return self._feedback
        outcome = self._session.step(action)
        self._feedback = self._describe(outcome.done, outcome.reward)
        return self._feedback

    def _describe(self, done: bool = False, score: float = 0.0) -> Feedback:
        observation = self._after_instruction(self._session.observation)
        return Feedback(observation, () if done else admissible_actions(self.page), done, done and score == 1.0, score)

    def _after_instruction(self, text: str) -> str:
        parts, told = text.split(SEPARATOR), self.task.strip()
        if told in parts:
            parts = parts[parts.index(told) + 1 :]
        return SEPARATOR.join(f"'{part}'" for part in parts)


def admissible_actions(page: Page) -> tuple[str, ...]:
    """What can be done on a page, as action texts; a search stands for all searches."""
    searches = (SEARCH_CHOICE,) if page.has_search_bar else ()
    return searches + tuple(f"click[{text}]" for text in page.clickables if text != "search")


class WebshopGames:
    """Environments of a compiled catalog, by game name (``human/17``: goal 17 of the human list)."""

    def __init__(self, data_dir: str | Path):
        self._folder = Path(data_dir)
        self._stores: dict[Mode, Store] = {}

    def open(self, game: str, spare: object = None) -> WebshopEnvironment:
        """An environment for `game`; a spare one is of no use, because opening costs next to nothing.

        Raises:
            BadInput: the name is none, or the catalog lacks the goal.
        """
        mode, _, index = game.partition("/")
        if mode not in MODES or not index.isdecimal():
            raise BadInput(game, "is not a game name", "write human/17 or synthetic/17")
        if mode not in self._stores:
            self._stores[mode] = Store(self._folder, mode)
        return WebshopEnvironment(self._stores[mode], int(index))
