"""A made-up catalog in the original file formats, for runs without the published one.

Departments, product kinds and their attributes and options are in the style of the real store; brands are invented.
Equal seeds give equal bytes. All that can be written is a few hundred words (`catalog_texts`), so that a word-level
model can read it: titles are short, prices lie below sixty dollars, product numbers are a prefix and eight digits.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import atomic_folder, write_json

ASIN_PREFIX = "B0"
# a catalog that is no larger than this has product numbers below it: their first digits are all alike
SMALL_CATALOG = 10_000
LARGEST_CATALOG = 10**8
DEAREST = 59


@dataclass(frozen=True)
class CatalogRecipe:
    """What to generate.

    Attributes:
        products: number of products; kinds take turns.
        instructions: human-like instructions a product has at most; at least one.
        description_words: filler words in each description; real descriptions have a hundred and more.
        seed: of everything.
    """

    products: int
    seed: int
    instructions: int = 3
    description_words: int = 0

    def __post_init__(self) -> None:
        for name in ("products", "instructions"):
            if getattr(self, name) < 1:
                raise BadInput(name, f"{getattr(self, name)} is too few", "give at least 1")
        if self.products > LARGEST_CATALOG:
            raise BadInput("products", f"{self.products} is too many", f"give at most {LARGEST_CATALOG}")


@dataclass(frozen=True)
class _Kind:
    """One kind of product: `nouns` vary the title, `query` names the kind."""

    department: str
    path: str
    query: str
    nouns: tuple[str, ...]
    attributes: tuple[str, ...]
    options: tuple[tuple[str, tuple[str, ...]], ...]


_BRANDS = ("Acmora", "Belvane", "Corvida", "Dunmere", "Eltrix", "Farrow", "Glenhart", "Hollin", "Kestrelo", "Lumaro",
           "Norvald", "Tindral")  # fmt: skip
_COLORS = ("black", "white", "navy blue", "wine red", "army green", "light grey", "rose gold", "brown", "yellow",
           "purple")  # fmt: skip
_CLOTHES_SIZES = ("small", "medium", "large", "x-large", "3x-large")
_PACKS = ("4 ounce (pack of 2)", "8 ounce (pack of 1)", "1 pound (pack of 6)", "12 ounce (pack of 3)")
_FILLER = ("with", "quality", "value", "easy", "design", "every", "day", "made", "care", "comfort", "strong", "light",
           "simple", "modern", "classic", "family", "friend", "season", "outdoor", "indoor", "clean", "fresh", "smooth",
           "durable", "practical", "pretty", "compact", "reliable", "kitchen", "garden", "office", "school", "weekend",
           "summer", "winter", "holiday", "present", "surface", "material", "finish")  # fmt: skip

_KINDS = (
    _Kind("fashion", "Clothing, Shoes & Jewelry › Men › Clothing › Shirts", "men shirts",
          ("Mens Long Sleeve Shirt", "Mens Henley Shirt", "Mens Button Down Shirt"),
          ("slim fit", "machine wash", "long sleeve", "polyester spandex", "regular fit", "moisture wicking"),
          (("color", _COLORS), ("size", _CLOTHES_SIZES))),
    _Kind("fashion", "Clothing, Shoes & Jewelry › Women › Shoes › Sandals", "women sandals",
          ("Womens Flat Sandals", "Womens Wedge Sandals", "Womens Slide Sandals"),
          ("rubber sole", "open toe", "arch support", "ankle strap", "non slip", "memory foam"),
          (("color", _COLORS), ("size", ("6", "7", "8", "9", "10 wide")))),
    _Kind("beauty", "Beauty & Personal Care › Makeup › Makeup Palettes", "makeup palettes",
          ("Eyeshadow Palette", "Contour Palette", "Blush Palette"),
          ("highly pigmented", "cruelty free", "long lasting", "easy apply", "paraben free", "travel size"),
          (("color", _COLORS[3:8]), ("style", ("matte", "shimmer", "glitter")))),
    _Kind("grocery", "Grocery & Gourmet Food › Snack Foods › Chips & Crisps", "chips",
          ("Potato Chips", "Corn Chips", "Veggie Chips"),
          ("gluten free", "non gmo", "low sodium", "plant based", "protein serving", "artificial flavors"),
          (("flavor name", ("sea salt", "salt & vinegar", "barbecue", "sour cream")), ("size", _PACKS))),
    _Kind("garden", "Home & Kitchen › Furniture › Living Room Furniture › Sofas", "sofas",
          ("Sectional Sofa", "Loveseat Sofa", "Sleeper Sofa"),
          ("mid century", "solid wood", "easy assemble", "living room", "high density", "button tufted"),
          (("color", _COLORS), ("size", ("2-seater", "3-seater", "corner")))),
    _Kind("electronics", "Electronics › Headphones › Earbud Headphones", "wireless earbuds",
          ("Wireless Earbuds", "Sport Earbuds", "Mini Earbuds"),
          ("noise cancelling", "fast charging", "stereo sound", "water resistant", "hands free", "wireless bluetooth"),
          (("color", _COLORS[:6]),)),
    _Kind("office", "Office Products › Office Supplies › Notebooks", "notebooks",
          ("Dotted Notebook", "Ruled Notebook", "Spiral Notebook"),
          ("thick paper", "hard cover", "acid free", "lay flat", "recycled paper", "bleed resistant"),
          (("color", _COLORS), ("size", ("a4", "a5", "pocket")))),
    _Kind("sports", "Sports & Outdoors › Exercise & Fitness › Yoga Mats", "yoga mats",
          ("Foam Yoga Mat", "Cork Yoga Mat", "Folding Yoga Mat"),
          ("non slip", "eco friendly", "extra thick", "easy carry", "moisture resistant", "double sided"),
          (("color", _COLORS), ("size", ("6mm", "8mm", "10mm")))),
    _Kind("toys", "Toys & Games › Building Toys › Building Sets", "building sets",
          ("Castle Building Set", "Train Building Set", "Robot Building Set"),
          ("battery powered", "glow dark", "easy build", "classroom use", "storage case", "magnetic parts"),
          (("size", ("100 pieces", "250 pieces", "500 pieces")),)),
    _Kind("pets", "Pet Supplies › Dogs › Beds & Furniture", "dog beds",
          ("Orthopedic Dog Bed", "Donut Dog Bed", "Cooling Dog Bed"),
          ("machine washable", "memory foam", "chew resistant", "anti anxiety", "water resistant", "removable cover"),
          (("color", _COLORS[:6]), ("size", _CLOTHES_SIZES[:4]))),
    _Kind("tools", "Tools & Home Improvement › Power Tools › Drills", "cordless drills",
          ("Hammer Drill", "Compact Drill", "Angle Drill"),
          ("brushless motor", "fast charging", "variable speed", "led light", "high torque", "carrying case"),
          (("size", ("12 volt", "18 volt", "20 volt max")),)),
)  # fmt: skip

_OPENINGS = ("i am looking for", "i need", "i want", "find me", "i would like", "i'm looking for", "show me")


def generate_catalog(folder: str | Path, recipe: CatalogRecipe) -> None:
    """Write the three files of a catalog into `folder`, which appears whole or not at all."""
    rng = random.Random(recipe.seed)
    with atomic_folder(folder) as temporary:
        annotations: dict[str, dict] = {}
        instructions: dict[str, list[dict]] = {}
        told: set[str] = set()
        with (temporary / "items_shuffle.json").open("w", encoding="utf-8") as out:
            for number, (record, kind, attributes) in enumerate(_products(recipe, rng)):
                out.write(("," if number else "[") + "\n" + json.dumps(record, ensure_ascii=False, sort_keys=True))
                asin = record["asin"]
                annotations[asin] = _annotation(kind, attributes, rng)
                instructions[asin] = _instructions(record, kind, attributes, recipe.instructions, told, rng)
            out.write("\n]\n")
        write_json(temporary / "items_ins_v2.json", annotations)
        write_json(temporary / "items_human_ins.json", {asin: texts for asin, texts in instructions.items() if texts})


def catalog_texts() -> Iterator[str]:
    """Texts that hold every word of any generated catalog; the filler of descriptions is left out."""
    yield from _BRANDS
    yield from _OPENINGS
    for kind in _KINDS:
        yield from (kind.department, kind.query, *kind.nouns, *kind.attributes)
        for name, values in kind.options:
            yield from (name, *values)
    yield _description("", "", "")
    yield _bullet("", "")
    yield "and with"
    yield from (f"${dollars}.99" for dollars in range(DEAREST + 1))


def _products(recipe: CatalogRecipe, rng: random.Random) -> Iterator[tuple[dict, _Kind, list[str]]]:
    numbers = range(SMALL_CATALOG if recipe.products <= SMALL_CATALOG else LARGEST_CATALOG)
    for place, number in enumerate(rng.sample(numbers, recipe.products)):
        kind = _KINDS[place % len(_KINDS)]
        attributes = rng.sample(kind.attributes, rng.randint(2, 4))
        asin = f"{ASIN_PREFIX}{number:08d}"
        yield _product(asin, kind, attributes, recipe.description_words, rng), kind, attributes


def _product(asin: str, kind: _Kind, attributes: list[str], filler: int, rng: random.Random) -> dict:
    brand, noun = rng.choice(_BRANDS), rng.choice(kind.nouns)
    shown = ", ".join(attribute.title() for attribute in attributes[:2])
    words = " ".join(rng.choices(_FILLER, k=filler))
    return {
        "asin": asin,
        "name": f"{brand} {noun}, {shown}",
        "category": kind.department,
        "query": kind.query,
        "product_category": kind.path,
        "full_description": f"{_description(brand, noun, attributes[0])} {words}".strip(),
        "small_description": [_bullet(attribute, noun) for attribute in attributes],
        "pricing": _pricing(rng),
        "images": [f"https://images.invalid/{asin}.jpg"],
        "customization_options": _customization(kind, rng),
        "average_rating": "",
        "brand": f"Visit the {brand} Store",
    }


def _description(brand: str, noun: str, attribute: str) -> str:
    return f"The {brand} {noun.lower()} is {attribute}."


def _bullet(attribute: str, noun: str) -> str:
    return f"{attribute.upper()}: this {noun.lower()} is {attribute} and made for every day."


def _pricing(rng: random.Random) -> str:
    """Mostly one price, now and then a range or none, as in the real files."""
    low, kind = rng.randint(5, DEAREST - 1), rng.random()
    if kind < 0.8:
        return f"${low}.99"
    return f"${low}.99${rng.randint(low + 1, DEAREST)}.99" if kind < 0.95 else ""


def _customization(kind: _Kind, rng: random.Random) -> dict[str, list[dict]]:
    options = {}
    for name, values in kind.options:
        chosen = rng.sample(values, rng.randint(2, min(4, len(values))))
        options[name] = [{"value": value, "is_selected": False, "url": None, "image": None} for value in chosen]
    return options


def _annotation(kind: _Kind, attributes: list[str], rng: random.Random) -> dict:
    wanted = attributes[: rng.randint(1, 2)]
    return {
        "attributes": attributes,
        "instruction": f"Find me {', '.join(wanted)} {kind.query}",
        "instruction_attributes": wanted,
    }


def _instructions(
    record: dict, kind: _Kind, attributes: list[str], most: int, told: set[str], rng: random.Random
) -> list[dict]:
    """Instructions as people wrote them: some attributes, some options, in varying words; no text twice."""
    written = []
    for _ in range(rng.randint(1, most)):
        wanted = rng.sample(attributes, rng.randint(1, 2))
        options = {
            name: rng.choice(choices)["value"]
            for name, choices in record["customization_options"].items()
            if rng.random() < 0.8
        }
        text = _sentence(kind, wanted, options, rng)
        if text in told:
            continue
        told.add(text)
        written.append(
            {
                "asin": record["asin"],
                "instruction": text,
                "instruction_attributes": wanted,
                "instruction_options": list(options.values()),
            }
        )
    return written


def _sentence(kind: _Kind, wanted: list[str], options: dict[str, str], rng: random.Random) -> str:
    noun = rng.choice(kind.nouns).lower() if rng.random() < 0.3 else kind.query
    opening = rng.choice(_OPENINGS)
    features = " and ".join(wanted)
    text = rng.choice((f"{opening} {features} {noun}", f"{opening} {noun} with {features}"))
    ending = ", ".join(f"{name} {value}" for name, value in options.items())
    return (f"{text}, {ending}" if ending else text) + "."
