"""Products as the original code loads them: which rows count, what a price is, how options read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.files import read_json

DEFAULT_PRICE = 100.0
MAX_ASIN_LENGTH = 10
# stands for "no attributes known"; it takes part in fuzzy matching as any attribute does
UNKNOWN_ATTRIBUTES = ("DUMMY_ATTR",)

# sha256 of the files that the authors published
PUBLISHED = {
    "items_shuffle_1000.json": "30a4765c3a327af72d9a9a95a6b2486d516f0fa1d3ecd83681901ce82a21b269",
    "items_ins_v2_1000.json": "f88a36314a397b53b3d9c3fa5878e5f7b26d35019a51ec83fbedeca61a948f6f",
    "items_shuffle.json": "2ef591d65df3af89e972ab72468eb82cbf124d876552d9f3678667edd620a6c8",
    "items_ins_v2.json": "1d36af476bdb8f82a5da62bd8acdabe54cd8de2fa84010d37da5c4890feb447e",
    "items_human_ins.json": "cf78667548a71786e1d9049c24b802e48e1084ad4bb021cae56ce1f6d96954a3",
}

_CHUNK_CHARACTERS = 1 << 24
_SPACE = re.compile(r"[ \t\r\n]*")
_REBUILD = "fetch the file again, or mend the record"


@dataclass(frozen=True)
class CatalogFiles:
    """The three original files of one catalog."""

    products: Path
    attributes: Path
    instructions: Path

    @classmethod
    def in_folder(cls, folder: str | Path) -> CatalogFiles:
        """Find the files by their original names: the 1,000-product set or the full one.

        Raises:
            BadInput: a file is missing, or the folder holds both sets.
        """
        folder = Path(folder)
        suffixes = [suffix for suffix in ("_1000", "") if (folder / f"items_shuffle{suffix}.json").is_file()]
        if not suffixes:
            raise BadInput(
                folder, "holds no items_shuffle.json or items_shuffle_1000.json", "name the folder with the catalog"
            )
        if len(suffixes) > 1:
            raise BadInput(folder, "holds the small and the full catalog", "keep each in a folder of its own")
        suffix = suffixes[0]
        files = cls(
            folder / f"items_shuffle{suffix}.json",
            folder / f"items_ins_v2{suffix}.json",
            folder / "items_human_ins.json",
        )
        for path in (files.attributes, files.instructions):
            if not path.is_file():
                raise BadInput(path, "is missing", "put all three catalog files into one folder")
        return files


@dataclass(frozen=True)
class Product:
    """One product of the store.

    Attributes:
        asin: the product's id.
        title: its name; the search page lists it.
        bullets: its feature list; one item at least.
        price_tag: the price as shown, ``$12.41`` or ``$5.7 to $301.02``.
        price_range: no, one or two amounts in dollars behind the tag.
        options: option name to the values that can be chosen, lower-cased.
        attributes: what the annotators found true of it.
        category: one of the store's departments.
        query: the search that once found it, lower-cased; its fine category.
        product_category: the path in the shop's tree, ``A › B › C``.
    """

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    price_tag: str
    price_range: tuple[float, ...]
    options: Mapping[str, tuple[str, ...]]
    attributes: tuple[str, ...]
    category: str
    query: str
    product_category: str

    def search_text(self) -> str:
        """The text that the search engine indexes."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options.items())
        return " ".join([self.title, self.description, self.bullets[0], options]).lower()

    def to_record(self) -> list:
        """The product as a JSON list in field order."""
        return [
            self.asin,
            self.title,
            self.description,
            self.bullets,
            self.price_tag,
            self.price_range,
            self.options,
            self.attributes,
            self.category,
            self.query,
            self.product_category,
        ]

    @classmethod
    def from_record(cls, record: list) -> Product:
        """The inverse of `to_record`."""
        asin, title, description, bullets, price_tag, prices, options, attributes, *rest = record
        chosen = {name: tuple(values) for name, values in options.items()}
        return cls(asin, title, description, tuple(bullets), price_tag, tuple(prices), chosen, tuple(attributes), *rest)


def read_products(files: CatalogFiles, attributes: Mapping[str, Any], limit: int | None = None) -> Iterator[Product]:
    """Yield the catalog's products in file order, without holding the file in memory.

    As in the original, rows whose asin is ``nan``, longer than ten characters or seen before are passed over.

    Args:
        attributes: the parsed attribute file.
        limit: read this many rows only (passed-over rows count).

    Raises:
        BadInput: the file is broken off, or a row lacks what the original needs of it.
    """
    seen: set[str] = set()
    for row, record in enumerate(stream_array(files.products)):
        if row == limit:
            break
        place = f"{files.products}: product {row}"
        if not isinstance(record, dict):
            raise BadInput(place, "is not an object", _REBUILD)
        asin = _text(record, "asin", place)
        if asin == "nan" or len(asin) > MAX_ASIN_LENGTH or asin in seen:
            continue
        seen.add(asin)
        yield parse_product(record, attributes.get(asin, {}), f"{place} ({asin})")
    if not seen:
        raise BadInput(files.products, "holds no product", "fetch the file again")


def parse_product(record: Mapping[str, Any], annotation: Mapping[str, Any], place: str) -> Product:
    """One row of the product file, with its row of the attribute file."""
    price_range, price_tag = parse_price(record.get("pricing"), place)
    return Product(
        asin=_text(record, "asin", place),
        title=_text(record, "name", place),
        description=_text(record, "full_description", place),
        bullets=_bullets(record, place),
        price_tag=price_tag,
        price_range=price_range,
        options=_options(record, place),
        attributes=_attributes(annotation, place),
        category=_text_or_nothing(record, "category", place),
        query=_text(record, "query", place).lower().strip(),
        product_category=_text_or_nothing(record, "product_category", place),
    )


def parse_price(pricing: str | None, place: str) -> tuple[tuple[float, ...], str]:
    """Amounts and tag of a price text: ``$12.41``, a range ``$5.70$301.02``, or nothing.

    Raises:
        BadInput: the text is there but holds no amount.
    """
    if not pricing:
        return (DEFAULT_PRICE,), f"${DEFAULT_PRICE}"
    remedy = "write it as $12.41, as a range $5.70$301.02, or leave it empty"
    if not isinstance(pricing, str):
        raise BadInput(place, f"price {pricing!r} is not a text", remedy)
    try:
        amounts = tuple(float(Decimal(re.sub(r"[^\d.]", "", part))) for part in pricing.split("$")[1:])
    except InvalidOperation as error:
        raise BadInput(place, f"price {pricing!r} cannot be read", remedy) from error
    if not amounts:
        raise BadInput(place, f"price {pricing!r} holds no dollar amount", remedy)
    if len(amounts) == 1:
        return amounts, f"${amounts[0]}"
    return amounts[:2], f"${amounts[0]} to ${amounts[1]}"


def read_annotations(path: Path) -> dict[str, Any]:
    """Read the attribute or the instruction file: an object keyed by asin.

    Raises:
        BadInput: the file is missing, broken off, or not such an object.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise BadInput(path, "is not an object keyed by asin", "fetch the file again")
    return value


def stream_array(path: Path) -> Iterator[Any]:
    """Yield the items of a JSON array one by one; memory holds a window of the file.

    Raises:
        BadInput: the file is missing, not an array, not UTF-8, or ends before the array does.
    """
    try:
        handle = path.open(encoding="utf-8")
    except OSError as error:
        raise BadInput(path, f"cannot be read ({error.strerror})", "check the path") from error
    with handle:
        try:
            yield from _array_items(path, handle)
        except UnicodeDecodeError as error:
            raise BadInput(path, "is not UTF-8", "fetch the file again") from error


def _array_items(path: Path, handle: Any) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    window, count = handle.read(_CHUNK_CHARACTERS), 0
    position = _SPACE.match(window).end()
    if window[position : position + 1] != "[":
        raise BadInput(path, "is not a JSON array", "fetch the file again")
    position += 1
    while True:
        position = _SPACE.match(window, position).end()
        head = window[position : position + 1]
        if head == "]":
            return
        if head == ",":
            position = _SPACE.match(window, position + 1).end()
        try:
            item, end = decoder.raw_decode(window, position)
            # a number or word that touches the window's end may go on beyond it
            complete = end < len(window)
        except json.JSONDecodeError:
            complete = False
        if complete:
            yield item
            position, count = end, count + 1
            continue
        more = handle.read(_CHUNK_CHARACTERS)
        if not more:
            raise BadInput(path, f"breaks off after item {count}", "the file is truncated; fetch it again")
        # the comma before a half-read item is dropped with what was consumed
        window, position = window[position:] + more, 0


def _text(record: Mapping[str, Any], key: str, place: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise BadInput(place, f"{key!r} is missing or not a text", _REBUILD)
    return value


def _text_or_nothing(record: Mapping[str, Any], key: str, place: str) -> str:
    """A text that may be null: the original loads such products."""
    return "" if key in record and record[key] is None else _text(record, key, place)


def _bullets(record: Mapping[str, Any], place: str) -> tuple[str, ...]:
    value = record.get("small_description")
    bullets = value if isinstance(value, list) else [value]
    if not bullets or not all(isinstance(bullet, str) for bullet in bullets):
        raise BadInput(place, "'small_description' is neither a text nor a list of texts", _REBUILD)
    return tuple(bullets)


def _attributes(annotation: Mapping[str, Any], place: str) -> tuple[str, ...]:
    if not isinstance(annotation, dict):
        raise BadInput(place, "its entry in the attribute file is not an object", _REBUILD)
    attributes = annotation.get("attributes", UNKNOWN_ATTRIBUTES)
    if not isinstance(attributes, (list, tuple)) or not all(isinstance(item, str) for item in attributes):
        raise BadInput(place, "its attributes are not a list of texts", _REBUILD)
    return tuple(attributes)


def _options(record: Mapping[str, Any], place: str) -> dict[str, tuple[str, ...]]:
    offered = record.get("customization_options")
    if not offered:
        return {}
    if not isinstance(offered, dict):
        raise BadInput(place, f"options of unknown type {type(offered).__name__}", "give an object of lists")
    options: dict[str, tuple[str, ...]] = {}
    for name, choices in offered.items():
        if choices is None:
            continue
        if not isinstance(choices, list):
            raise BadInput(place, f"option {name!r} is of unknown type {type(choices).__name__}", "give a list")
        options[name.lower()] = tuple(_option_value(choice, f"{place} option {name!r}") for choice in choices)
    return options


def _option_value(choice: Any, place: str) -> str:
    if not isinstance(choice, dict) or not isinstance(choice.get("value"), str):
        raise BadInput(place, "a choice has no text 'value'", _REBUILD)
    return choice["value"].strip().replace("/", " | ").lower()
