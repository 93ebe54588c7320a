"""The store's pages as an agent reads them: their visible text, part by part, and what can be clicked.

The original renders HTML, parses it and joins the visible text nodes with " [SEP] ". Here the text nodes are made
directly; what HTML parsing does to blank text is kept: an empty text is no node, blanks with a line break are dropped,
other blanks leave an empty part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prism.environments.webshop.products import Product

SEPARATOR = " [SEP] "
RATING = "N.A."

BUY = "Buy Now"
NEXT_PAGE = "Next >"
PREVIOUS_PAGE = "< Prev"
BACK_TO_SEARCH = "Back to Search"
SUB_PAGES = ("Description", "Features", "Reviews", "Attributes")

_BLANKS = " \n\t\f\r"


@dataclass(frozen=True)
class Clickable:
    """What a click hits: a button, a product in the result list, or a value of the option `option`."""

    kind: Literal["button", "product", "option"]
    option: str = ""


BUTTON = Clickable("button")
PRODUCT = Clickable("product")


@dataclass(frozen=True)
class Page:
    """One page: its text, the clickable texts in the order they are listed, and whether it has a search bar."""

    observation: str
    clickables: Mapping[str, Clickable]
    has_search_bar: bool = False


def search_page(instruction: str) -> Page:
    """The start page."""
    texts = ["WebShop", "Instruction: ", instruction, "Search"]
    return Page(_join(texts), _clickables(["Search"]), has_search_bar=True)


def results_page(instruction: str, products: Sequence[Product], number: int, total: int) -> Page:
    """One page of search results; "Next >" is offered on the last page too, as in the original."""
    buttons = [BACK_TO_SEARCH, *([PREVIOUS_PAGE] if number > 1 else []), NEXT_PAGE]
    texts = ["Instruction:", instruction, BACK_TO_SEARCH, f"Page {number} (Total results: {total})", *buttons[1:]]
    for product in products:
        texts += [product.asin, product.title, product.price_tag]
    return Page(_join(texts), _clickables(buttons, products=[product.asin for product in products]))


def item_page(instruction: str, product: Product, show_attributes: bool = False) -> Page:
    """A product with its options; which ones were clicked does not show."""
    sub_pages = SUB_PAGES if show_attributes else SUB_PAGES[:3]
    texts = ["Instruction:", instruction, BACK_TO_SEARCH, PREVIOUS_PAGE]
    for name, values in product.options.items():
        texts += [name, *values]
    texts += [product.title, f"Price: {product.price_tag}", f"Rating: {RATING}", *sub_pages, BUY]
    return Page(_join(texts), _clickables([BACK_TO_SEARCH, PREVIOUS_PAGE, *sub_pages, BUY], options=product.options))


def sub_page(instruction: str, product: Product, name: str) -> Page:
    """Description, features, reviews (the data has none) or attributes of a product."""
    texts = ["Instruction:", instruction, BACK_TO_SEARCH, PREVIOUS_PAGE]
    if name == "Description":
        texts.append(product.description)
    elif name == "Features":
        texts += [f" {bullet}" for bullet in product.bullets]
    elif name == "Attributes":
        texts += [f" {attribute}" for attribute in product.attributes]
        texts += [product.category, product.query, product.product_category]
    return Page(_join(texts), _clickables([BACK_TO_SEARCH, PREVIOUS_PAGE]))


def done_page(asin: str, options: Mapping[str, str], reward: float) -> Page:
    """The receipt. The original leaves the goal's fields empty here; only their labels are text."""
    texts = ["Thank you for shopping with us!", "Your code: ", "None", " (Paste it in your MTurk interface.)"]
    texts += ["Purchased", "asin", asin, "options", _json_in_html(options)]
    texts += ["attrs", "None", "category", "None", "query", "None", "product category", "None"]
    texts += ["Target", "asin", "options", "attrs", "price upper", "instuction text", "category", "product category"]
    texts += ["query", "Goal ", "None", "Reward", "Your score (min 0.0, max 1.0)", str(reward)]
    texts += ["Reward Details ", "None"]
    return Page(_join(texts), {})


def _json_in_html(value: Mapping[str, str]) -> str:
    """JSON as the web framework's templates write it: keys sorted, characters special to HTML escaped."""
    text = json.dumps(value, sort_keys=True)
    for char in "<>&'":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _join(texts: Iterable[str]) -> str:
    parts = []
    for text in texts:
        if text.strip(_BLANKS):
            parts.append(text.strip())
        elif text and "\n" not in text:
            parts.append("")
    return SEPARATOR.join(parts)


def _clickables(
    buttons: Iterable[str], products: Iterable[str] = (), options: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Clickable]:
    """Clickable texts in listing order; a later one of the same text takes an earlier one's place."""
    found = {text.lower(): BUTTON for text in buttons}
    found |= {asin.lower(): PRODUCT for asin in products}
    for name, values in (options or {}).items():
        found |= {value: Clickable("option", name) for value in values}
    return found
