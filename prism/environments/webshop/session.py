"""One shopper's way through the store: actions in, pages and rewards out, step by step as the original answers."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prism.environments.webshop import pages
from prism.environments.webshop.goals import Goal
from prism.environments.webshop.pages import Clickable, Page
from prism.environments.webshop.products import Product
from prism.environments.webshop.rewards import Reward
from prism.environments.webshop.store import Store

PRODUCTS_PER_PAGE = 10

_ACTION = re.compile(r"(.+)\[(.+)\]")
# the original finds out where it is by looking for these names, in this order, in the address
_PAGE_NAMES = ("search_results", "item_page", "item_sub_page", "done")

Judge = Callable[..., Reward]


@dataclass(frozen=True)
class Outcome:
    """What a step brought: the reward of a purchase, 0 otherwise; `done` after a purchase."""

    reward: float = 0.0
    done: bool = False


@dataclass
class Session:
    """A session in progress.

    Attributes:
        store: where the shopper is.
        goal: what they were told.
        judge: the reward function (`rewards.score_purchase`).
        rng: for the search ``<r>``, which shows random products.
        name: part of the address.
        page: what they see now.
        purchase: the last purchase's reward in its components.
    """

    store: Store
    goal: Goal
    judge: Judge
    rng: random.Random
    name: str = "0"
    show_attributes: bool = False
    page: Page = field(init=False)
    purchase: Reward | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._go_to_start()

    @property
    def observation(self) -> str:
        """The page's text."""
        return self.page.observation

    def step(self, action: str) -> Outcome:
        """Carry out ``search[words]`` or ``click[text]``; anything else, or a text that is not there, does nothing.

        Searching works on every page, with or without a search bar.
        """
        name, argument = parse_action(action)
        if argument is None:
            return Outcome()
        argument = argument.lower()
        if name == "search":
            self._search(argument.split(" "), 1)
        elif name == "click" and argument != "search":
            clickable = self.page.clickables.get(argument)
            if clickable is not None:
                return self._click(argument, clickable)
        return Outcome()

    def _click(self, text: str, clickable: Clickable) -> Outcome:
        """Follow a click; buttons are told by their text, even where an option has the same one."""
        here = next((name for name in _PAGE_NAMES if name in self._address), "")
        if text == pages.BUY.lower():
            return self._buy()
        if text == pages.BACK_TO_SEARCH.lower():
            self._go_to_start()
        elif text == pages.NEXT_PAGE.lower() and here == "search_results":
            self._search(self._keywords, self._page_number + 1)
        elif text == pages.PREVIOUS_PAGE.lower() and here == "search_results":
            self._search(self._keywords, self._page_number - 1)
        elif text == pages.PREVIOUS_PAGE.lower() and here == "item_page":
            self._search(self._keywords, self._page_number)
        elif text in _SUB_PAGES:
            self._open_sub_page(_SUB_PAGES[text])
        else:
            self._open_item(text, clickable)
        return Outcome()

    def _go_to_start(self) -> None:
        self._keywords: list[str] = []
        self._page_number = 0
        self._asin = ""
        self._options: dict[str, str] = {}
        self._address = f"/{self.name}"
        self.page = pages.search_page(self.goal.instruction)

    def _search(self, keywords: list[str], number: int) -> None:
        self._keywords, self._page_number, self._asin, self._options = keywords, number, "", {}
        found = self._find(keywords)
        shown = found[(number - 1) * PRODUCTS_PER_PAGE : number * PRODUCTS_PER_PAGE]
        products = [self.store.product(position) for position in shown]
        self._address = f"/search_results/{self.name}/{'+'.join(keywords)}/{number}"
        self.page = pages.results_page(self.goal.instruction, products, number, len(found))

    def _find(self, keywords: list[str]) -> Sequence[int]:
        """Positions of the products a search shows; the first word may name another way to search.

        The original ends in an error on ``<a>``, and on ``<c>`` without a category; here they find nothing.
        """
        match keywords[0]:
            case "<r>":
                return self.rng.sample(range(len(self.store)), min(self.store.results, len(self.store)))
            case "<a>":
                return ()
            case "<c>":
                return self.store.in_category(keywords[1].strip()) if len(keywords) > 1 else ()
            case "<q>":
                return self.store.with_query(" ".join(keywords[1:]).strip())
        return self.store.search(" ".join(keywords))

    def _open_item(self, text: str, clickable: Clickable) -> None:
        if clickable.kind == "product":
            # the original fails on an asin with lower-case letters; here the click does nothing
            if self.store.position(text.upper()) is None:
                return
            self._asin = text.upper()
        elif clickable.kind == "option":
            self._options[clickable.option.lower()] = text
        product = self._current_product()
        keywords, options = "+".join(self._keywords), json.dumps(self._options)
        self._address = f"/item_page/{self.name}/{self._asin}/{keywords}/{self._page_number}/{options}"
        self.page = pages.item_page(self.goal.instruction, product, self.show_attributes)

    def _current_product(self) -> Product:
        return self.store.product(self.store.position(self._asin))

    def _open_sub_page(self, name: str) -> None:
        product = self._current_product()
        place = f"{self._asin}/{'+'.join(self._keywords)}/{self._page_number}/{name}/{self._options}"
        self._address = f"/item_sub_page/{self.name}/{place}"
        self.page = pages.sub_page(self.goal.instruction, product, name)

    def _buy(self) -> Outcome:
        position = self.store.position(self._asin)
        product, price = self.store.product(position), self.store.price(position)
        self.purchase = self.judge(product, price, self._options, self.goal)
        self._address = f"/done/{self.name}/{self._asin}/{self._options}"
        self.page = pages.done_page(self._asin, self._options, self.purchase.total)
        return Outcome(self.purchase.total, done=True)


_SUB_PAGES = {name.lower(): name for name in pages.SUB_PAGES}


def parse_action(action: str) -> tuple[str, str | None]:
    """Split ``name[argument]``; text after the last bracket is dropped, an empty argument is none."""
    match = _ACTION.match(action)
    return (match[1], match[2]) if match else (action, None)
