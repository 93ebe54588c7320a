"""Goals: what a shopper is told to find, drawn and ordered as the original draws and orders them."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prism.core.errors import BadInput
from prism.environments.webshop.products import Product

Mode = Literal["human", "synthetic"]
MODES: tuple[Mode, ...] = ("human", "synthetic")

SHUFFLE_SEED = 233
# price limits that an instruction may name, in dollars; the next few above the price are drawn from
PRICE_LIMITS = [10.0 * tens for tens in range(1, 100)]
LIMITS_ABOVE_PRICE = 4
NO_LIMIT = 1000000


@dataclass(frozen=True)
class Goal:
    """One instruction and what fulfils it.

    Attributes:
        instruction: the text the shopper is given.
        attributes: features the product must have; one at least.
        price_upper: the highest price in dollars that is right.
        options: values to choose; human goals list values, synthetic goals map option names to values.
        weight: how often the original's weighted draw takes this goal, relative to the others.
    """

    asin: str
    category: str
    query: str
    name: str
    product_category: str
    instruction: str
    attributes: tuple[str, ...]
    price_upper: float
    options: tuple[str, ...] | Mapping[str, str]
    weight: float = 1

    def wanted_options(self) -> list[str | tuple[str, str]]:
        """The options as the reward compares them: values, or (name, value) pairs of a synthetic goal."""
        return list(self.options.items()) if isinstance(self.options, Mapping) else list(self.options)

    def to_record(self) -> dict:
        """The goal under the original's key names."""
        return {
            "asin": self.asin,
            "category": self.category,
            "query": self.query,
            "name": self.name,
            "product_category": self.product_category,
            "instruction_text": self.instruction,
            "attributes": list(self.attributes),
            "price_upper": self.price_upper,
            "goal_options": dict(self.options) if isinstance(self.options, Mapping) else list(self.options),
            "weight": self.weight,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Goal:
        """The inverse of `to_record`; category, instruction and weight may be absent (recorded reward cases)."""
        options = record["goal_options"]
        return cls(
            asin=record["asin"],
            category=record.get("category", ""),
            query=record["query"],
            name=record["name"],
            product_category=record["product_category"],
            instruction=record.get("instruction_text", ""),
            attributes=tuple(record["attributes"]),
            price_upper=record["price_upper"],
            options=dict(options) if isinstance(options, Mapping) else tuple(options),
            weight=record.get("weight", 1),
        )


def draw_price(product: Product, rng: random.Random) -> float:
    """The price that counts at the checkout: fixed, or drawn once from the product's range."""
    if len(product.price_range) == 1:
        return product.price_range[0]
    return rng.uniform(*product.price_range)


def shuffled(goals: list[Goal]) -> list[Goal]:
    """The goals in the order that the benchmark's indices refer to."""
    order = list(goals)
    random.Random(SHUFFLE_SEED).shuffle(order)
    return order


def human_goals(
    priced: Iterable[tuple[Product, float]], instructions: Mapping[str, Any], rng: random.Random, place: str
) -> Iterator[Goal]:
    """Goals from instructions that people wrote, in product order; those without attributes are passed over.

    Instructions for products that the catalog lacks are not used.

    Args:
        priced: products with the price drawn for each.
        instructions: asin to a list of instructions.
        rng: its state is the original's after prices were drawn.
        place: the instruction file, for errors.
    """
    for product, price in priced:
        for number, written in enumerate(instructions.get(product.asin, ())):
            _check_human(written, f"{place}: {product.asin} instruction {number}")
            if not written["instruction_attributes"]:
                continue
            limit, limit_text = _draw_limit(price, rng)
            options = written["instruction_options"]
            yield Goal(
                asin=product.asin,
                category=product.category,
                query=product.query,
                name=product.title,
                product_category=product.product_category,
                instruction=written["instruction"].strip(".") + limit_text,
                attributes=tuple(written["instruction_attributes"]),
                price_upper=limit,
                options=dict(options) if isinstance(options, dict) else tuple(options),
            )


def synthetic_goals(
    priced: Iterable[tuple[Product, float]], annotations: Mapping[str, Any], rng: random.Random, place: str
) -> list[Goal]:
    """Goals from templates: one for each combination of a product's options, in product order.

    Args:
        priced: products with the price drawn for each.
        annotations: the parsed attribute file, which must know every product.
        rng: its state is the original's after prices were drawn.
        place: the attribute file, for errors.
    """
    goals: list[Goal] = []
    for product, price in priced:
        annotation = annotations.get(product.asin)
        if annotation is None:
            raise BadInput(place, f"lacks product {product.asin}", "fetch the attribute file of this catalog")
        if annotation.get("instruction") is None:
            continue
        if not annotation.get("instruction_attributes"):
            raise BadInput(place, f"{product.asin} has an instruction without attributes", "mend the record")
        goals.extend(_combinations(product, price, annotation, rng))
    uses = Counter(attribute for goal in goals for attribute in goal.attributes)
    return [_weighted(goal, uses) for goal in goals]


def _combinations(product: Product, price: float, annotation: Mapping[str, Any], rng: random.Random) -> Iterator[Goal]:
    limit, limit_text = _draw_limit(price, rng)
    names = sorted(product.options)
    for values in itertools.product(*(product.options[name] for name in names)):
        chosen = dict(zip(names, values, strict=True))
        option_text = ", and ".join(f"{name}: {value}" for name, value in chosen.items())
        yield Goal(
            asin=product.asin,
            category=product.category,
            query=product.query,
            name=product.title,
            product_category=product.product_category,
            instruction=annotation["instruction"] + (f" with {option_text}" if option_text else "") + limit_text,
            attributes=tuple(annotation["instruction_attributes"]),
            price_upper=limit,
            options=chosen,
        )


def _weighted(goal: Goal, uses: Counter[str]) -> Goal:
    weight = sum(1.0 / uses[attribute] for attribute in goal.attributes) / len(goal.attributes)
    return Goal(**{**goal.__dict__, "weight": weight})


def _draw_limit(price: float, rng: random.Random) -> tuple[float, str]:
    """A price limit above the price, and its words; none where the price is beyond all limits."""
    above = [limit for limit in PRICE_LIMITS if limit > price][:LIMITS_ABOVE_PRICE]
    if len(above) < 2:
        return NO_LIMIT, ""
    limit = max(rng.sample(above, 2))
    return limit, f", and price lower than {limit:.2f} dollars"


def _check_human(written: Any, place: str) -> None:
    expected = {"instruction": str, "instruction_attributes": list, "instruction_options": (list, dict)}
    for key, kind in expected.items():
        if not isinstance(written, dict) or not isinstance(written.get(key), kind):
            raise BadInput(place, f"{key!r} is missing or of the wrong type", "mend the record")
