"""An expert shopper that acts only on what an agent sees.

It searches with words of the instruction, looks through the result pages, opens the first product that is right,
chooses options and buys. Knowing the goal only tells it which products are right, as an annotator knew; goals that this
way does not reach with full score within the steps are rejected, with the reason.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from prism.core.episodes import Feedback
from prism.core.trajectories import Step
from prism.environments.webshop.environment import WebshopEnvironment
from prism.environments.webshop.goals import Goal
from prism.environments.webshop.pages import BUY, NEXT_PAGE
from prism.environments.webshop.rewards import options_match, score_purchase

NAME = "oracle"

_PRICE_CLAUSE = re.compile(r",? and price lower than [\d.]+ dollars$")
# ways to open a request; what follows names the product
_OPENINGS = re.compile(
    r"^(?:i am|i'm|im)? ?(?:looking for|looking to buy|searching for|in need of|i need|i want|i would like|find me|"
    r"show me|please find)(?: to buy| to find)?(?: a| an| some| the)?\s+"
)
_WORDS = re.compile(r"[^a-z0-9&'.%\- ]+")


@dataclass(frozen=True)
class Rejection:
    """A goal without a trajectory, and why: ``not found``, ``too many steps`` or ``score``."""

    reason: str


def query_of(instruction: str) -> str:
    """Search words from an instruction: without its opening and its price limit."""
    text = _PRICE_CLAUSE.sub("", instruction.lower().strip())
    text = _OPENINGS.sub("", text)
    return " ".join(_WORDS.sub(" ", text).split())


def shop(environment: WebshopEnvironment, goal: Goal, max_steps: int) -> tuple[Step, ...] | Rejection:
    """Play one episode.

    Returns:
        The steps of an episode with a score of exactly 1, or why there is none.
    """
    shopper = _Shopper(environment, goal, max_steps)
    return shopper.play()


def shop_hastily(
    environment: WebshopEnvironment, goal: Goal, max_steps: int, noise: float, rng: random.Random
) -> tuple[tuple[Step, ...], bool]:
    """Play one episode as a shopper that errs: what a backbone is pre-trained on need not be bought right.

    Args:
        noise: chance to misjudge a listed product, and to pass over an option that was asked for.

    Returns:
        At most `max_steps` steps, and whether the purchase had a score of exactly 1.
    """
    shopper = _HastyShopper(environment, goal, max_steps, noise, rng)
    shopper.play()
    steps = tuple(shopper.steps[:max_steps])
    return steps, shopper.feedback.success and len(shopper.steps) <= max_steps


class _Shopper:
    def __init__(self, environment: WebshopEnvironment, goal: Goal, max_steps: int):
        self.environment, self.goal, self.max_steps = environment, goal, max_steps
        self.steps: list[Step] = []
        self.feedback = Feedback("", ())

    def play(self) -> tuple[Step, ...] | Rejection:
        self.feedback = self.environment.reset()
        query = query_of(self.environment.task)
        if not query:
            return Rejection("not found")
        # the reply holds the query as it is: the thought does not have to
        self._act(f"search[{query}]", "I search.")
        if not self._open_right_product():
            return Rejection("not found")
        self._choose_options()
        self._act(f"click[{BUY.lower()}]", "All that was asked for is chosen, I buy it.")
        if len(self.steps) > self.max_steps:
            return Rejection("too many steps")
        return tuple(self.steps) if self.feedback.success else Rejection("score")

    def _open_right_product(self) -> bool:
        """Go through the result pages until a right product is listed, then open it."""
        while True:
            clickables = self.environment.page.clickables
            listed = [text for text, clickable in clickables.items() if clickable.kind == "product"]
            right = next((asin for asin in listed if self._is_right(asin)), None)
            if right is not None:
                break
            if not listed or len(self.steps) > self.max_steps:
                return False
            self._act(f"click[{NEXT_PAGE.lower()}]", "None of these fits, I look at the next page.")
        self._act(f"click[{right}]", f"I open {right.upper()}, it fits.")
        return True

    def _errs(self) -> bool:
        """Whether it makes a mistake now."""
        return False

    def _is_right(self, asin: str) -> bool:
        """Whether the product, with the options chosen that were asked for, is worth a full score."""
        store = self.environment.store
        position = store.position(asin.upper())
        if position is None:
            return False
        product = store.product(position)
        offered = {value: name for name, values in product.options.items() for value in values}
        chosen = {offered[choice]: choice for choice in self._choices(offered)}
        return score_purchase(product, store.price(position), chosen, self.goal).total == 1.0

    def _choices(self, offered: Mapping[str, str]) -> list[str]:
        """The values to choose among those that a product offers, in the order they were asked for."""
        wanted = list(self.goal.options.values()) if isinstance(self.goal.options, dict) else list(self.goal.options)
        choices = []
        for want in wanted:
            alike = (value for value in offered if options_match(value, want))
            choice = want if want in offered else next(alike, None)
            if choice is not None:
                choices.append(choice)
        return choices

    def _choose_options(self) -> None:
        offered = {
            text: clickable.option
            for text, clickable in self.environment.page.clickables.items()
            if clickable.kind == "option"
        }
        for choice in self._choices(offered):
            if not self._errs():
                self._act(f"click[{choice}]", f"I choose {offered[choice]} {choice}.")

    def _act(self, action: str, thought: str) -> None:
        self.steps.append(Step(self.feedback.observation, self.feedback.admissible, thought, action))
        self.feedback = self.environment.step(action)


class _HastyShopper(_Shopper):
    def __init__(self, environment: WebshopEnvironment, goal: Goal, max_steps: int, noise: float, rng: random.Random):
        super().__init__(environment, goal, max_steps)
        self._noise, self._rng = noise, rng

    def _errs(self) -> bool:
        return self._rng.random() < self._noise

    def _is_right(self, asin: str) -> bool:
        return super()._is_right(asin) != self._errs()
