"""A catalog compiled to disk: products, prices, goals and search index, opened at once and shared by processes.

Everything large is memory-mapped, so that the full catalog of 1.18 million products costs a worker little more than
the pages it looks at.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from prism.core.errors import BadInput
from prism.core.files import atomic_folder, read_json, sha256_file, write_json
from prism.core.progress import say
from prism.environments.webshop import goals as goal_rules
from prism.environments.webshop.goals import MODES, Goal, Mode
from prism.environments.webshop.products import PUBLISHED, CatalogFiles, Product, read_annotations, read_products
from prism.environments.webshop.rewards import remember_nouns, tag_titles, tagger_version
from prism.environments.webshop.search import SearchIndex, build_index, map_array

RESULTS_PER_SEARCH = 50
FORMAT_VERSION = 1
# Tagging a title takes some milliseconds: a small catalog's are tagged once, when it is compiled; of a large one, whose
# titles are seldom bought, each is tagged when it first is.
TAGGED_TITLES = 2_000
_PRODUCTS_BETWEEN_LINES = 100_000
_DRAWS_OF_FIRST_SESSION = 11
_CACHED_PRODUCTS = 1 << 14
_CACHED_SEARCHES = 1 << 12


def compile_store(
    files: CatalogFiles,
    folder: str | Path,
    seed: int,
    modes: Sequence[Mode] = MODES,
    limit: int | None = None,
    tagged_titles: int = TAGGED_TITLES,
) -> None:
    """Compile a catalog into `folder`, which appears whole or not at all.

    Args:
        seed: of prices drawn from ranges and of price limits in instructions; the original draws them from the
            process-wide generator, which this seeds.
        modes: goal lists to make; synthetic goals of a full catalog are many.
        limit: use this many rows of the product file only.
        tagged_titles: tag the titles of a catalog with at most this many products now, for the rewards.

    Raises:
        BadInput: a file or row cannot be used.
    """
    annotations = read_annotations(files.attributes)
    instructions = read_annotations(files.instructions)
    rng = random.Random(seed)
    with atomic_folder(folder) as temporary:
        index_folder = temporary / "index"
        index_folder.mkdir()
        writer = _ProductWriter(temporary, rng)
        products = writer.written(read_products(files, annotations, limit))
        build_index(((product.asin, product.search_text()) for product in products), index_folder)
        writer.finish()
        after_prices = rng.getstate()
        counts = {}
        for mode in modes:
            rng.setstate(after_prices)
            priced = _priced_products(temporary)
            if mode == "human":
                drawn = list(goal_rules.human_goals(priced, instructions, rng, str(files.instructions)))
            else:
                drawn = goal_rules.synthetic_goals(priced, annotations, rng, str(files.attributes))
            _write_goals(temporary / f"goals-{mode}.jsonl", goal_rules.shuffled(drawn))
            counts[mode] = len(drawn)
        if len(writer.asins) <= tagged_titles:
            titles = dict.fromkeys(product.title for product, _ in _priced_products(temporary))
            write_json(temporary / "nouns.json", {"tagger": tagger_version(), "titles": tag_titles(titles)})
        write_json(temporary / "manifest.json", _manifest(files, seed, limit, len(writer.asins), counts))
    say(f"catalog: {len(writer.asins)} products, " + ", ".join(f"{n} {mode} goals" for mode, n in counts.items()))


class Store:
    """A compiled catalog with one of its goal lists.

    Attributes:
        results: how many products a search returns at most.
        goals: in the order that goal indices refer to.
    """

    results = RESULTS_PER_SEARCH

    def __init__(self, folder: str | Path, mode: Mode):
        """Open a compiled catalog.

        Raises:
            BadInput: the folder is no such catalog, or lacks the goal list.
        """
        self.folder = Path(folder)
        if not (self.folder / "manifest.json").is_file():
            raise BadInput(folder, "is not a compiled catalog", "build it with `prism stage games webshop`")
        self.manifest: dict[str, Any] = read_json(self.folder / "manifest.json")
        if self.manifest.get("format_version") != FORMAT_VERSION:
            raise BadInput(folder, "was compiled by another version", "build it again")
        if mode not in self.manifest["goals"]:
            raise BadInput(folder, f"has no {mode} goals", f"it has: {', '.join(self.manifest['goals'])}")
        self.mode = mode
        self.goals = [Goal.from_record(record) for record in _read_lines(self.folder / f"goals-{mode}.jsonl")]
        self._index = SearchIndex(self.folder / "index")
        self._text = memoryview(np.memmap(self.folder / "products.jsonl", dtype=np.uint8, mode="r"))
        self._starts = map_array(self.folder / "product_starts.npy")
        self._prices = map_array(self.folder / "prices.npy")
        self._asins = map_array(self.folder / "asins.npy")
        self._asin_order = map_array(self.folder / "asin_order.npy")
        self._facets = read_json(self.folder / "facets.json")
        self._recall_nouns()
        # caches per store: products and searches are asked for again and again within a group of episodes
        self.product = lru_cache(_CACHED_PRODUCTS)(self._read_product)
        self.search = lru_cache(_CACHED_SEARCHES)(self._run_search)

    def __len__(self) -> int:
        return len(self._prices)

    def _recall_nouns(self) -> None:
        """Titles that this environment's tagger tagged when the catalog was compiled are not tagged again."""
        path = self.folder / "nouns.json"
        if path.is_file():
            tagged = read_json(path)
            if tagged["tagger"] == tagger_version():
                remember_nouns(tagged["titles"])

    def _read_product(self, position: int) -> Product:
        """The product at a position of the catalog."""
        line = self._text[self._starts[position] : self._starts[position + 1]]
        return Product.from_record(json.loads(bytes(line)))

    def _run_search(self, query: str) -> tuple[int, ...]:
        """Positions of the products that match best, best first."""
        return tuple(position for position, _ in self._index.search(query, self.results))

    def search_scored(self, query: str) -> list[tuple[str, float]]:
        """The best matches as ``(asin, score)``."""
        return [(self.product(position).asin, score) for position, score in self._index.search(query, self.results)]

    def price(self, position: int) -> float:
        """What the checkout charges, in dollars."""
        return float(self._prices[position])

    def position(self, asin: str) -> int | None:
        """Where a product is in the catalog; None for one that is not."""
        wanted = asin.encode("utf-8", "surrogatepass")
        place = int(np.searchsorted(self._asins, wanted))
        if place < len(self._asins) and self._asins[place] == wanted:
            return int(self._asin_order[place])
        return None

    def in_category(self, category: str) -> tuple[int, ...]:
        """All products of a department, in catalog order."""
        return self._with_facet("category", category)

    def with_query(self, query: str) -> tuple[int, ...]:
        """All products that one query once found, in catalog order."""
        return self._with_facet("query", query)

    def _with_facet(self, facet: str, value: str) -> tuple[int, ...]:
        if value not in self._facets[facet]:
            return ()
        codes = map_array(self.folder / f"{facet}.npy")
        return tuple(np.flatnonzero(codes == self._facets[facet].index(value)).tolist())

    def rng_after_opening(self) -> random.Random:
        """The state of the original's random generator once the store stands; ``<r>`` searches use it.

        After goals are shuffled, the original opens a session that nobody plays: ten letters and one goal are drawn.
        """
        rng = random.Random()
        rng.setstate(self._state_after_opening)
        return rng

    @cached_property
    def _state_after_opening(self) -> tuple:
        rng = random.Random(goal_rules.SHUFFLE_SEED)
        rng.shuffle(list(range(len(self.goals))))
        for _ in range(_DRAWS_OF_FIRST_SESSION):
            rng.random()
        return rng.getstate()


class _ProductWriter:
    """Writes products as they stream by, draws their prices, and collects the small columns."""

    def __init__(self, folder: Path, rng: random.Random):
        self.folder, self.rng = folder, rng
        self.asins: list[str] = []
        self.prices: list[float] = []
        self.starts = [0]
        self.facets: dict[str, dict[str, int]] = {"category": {}, "query": {}}
        self.codes: dict[str, list[int]] = {"category": [], "query": []}

    def written(self, products: Iterable[Product]) -> Iterator[Product]:
        """Pass products on after writing each."""
        with (self.folder / "products.jsonl").open("wb") as out:
            for product in products:
                line = _json_line(product.to_record())
                out.write(line)
                self.starts.append(self.starts[-1] + len(line))
                self.asins.append(product.asin)
                self.prices.append(goal_rules.draw_price(product, self.rng))
                for facet, known in self.facets.items():
                    self.codes[facet].append(known.setdefault(getattr(product, facet), len(known)))
                if len(self.asins) % _PRODUCTS_BETWEEN_LINES == 0:
                    say(f"catalog: {len(self.asins)} products read")
                yield product

    def finish(self) -> None:
        np.save(self.folder / "product_starts.npy", np.array(self.starts, dtype=np.int64))
        np.save(self.folder / "prices.npy", np.array(self.prices, dtype=np.float64))
        encoded = np.array([asin.encode("utf-8", "surrogatepass") for asin in self.asins])
        order = np.argsort(encoded, kind="stable")
        np.save(self.folder / "asins.npy", encoded[order])
        np.save(self.folder / "asin_order.npy", order.astype(np.int32))
        for facet, codes in self.codes.items():
            np.save(self.folder / f"{facet}.npy", np.array(codes, dtype=np.int32))
        write_json(self.folder / "facets.json", {facet: list(known) for facet, known in self.facets.items()})


def _json_line(value: Any) -> bytes:
    # escaped to ASCII: a lone surrogate in scraped text must survive the round trip
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def _priced_products(folder: Path) -> Iterator[tuple[Product, float]]:
    prices = np.load(folder / "prices.npy")
    for record, price in zip(_read_lines(folder / "products.jsonl"), prices.tolist(), strict=True):
        yield Product.from_record(record), price


def _write_goals(path: Path, ordered: Iterable[Goal]) -> None:
    with path.open("wb") as out:
        for goal in ordered:
            out.write(_json_line(goal.to_record()))


def _read_lines(path: Path) -> Iterator[Any]:
    with path.open("rb") as lines:
        yield from map(json.loads, lines)


def _manifest(files: CatalogFiles, seed: int, limit: int | None, products: int, goals: dict[str, int]) -> dict:
    sources = {path.name: sha256_file(path) for path in (files.products, files.attributes, files.instructions)}
    changed = [name for name, digest in sources.items() if digest != PUBLISHED[name]]
    warnings = [f"not the published file: {name}" for name in changed]
    for warning in warnings:
        say(f"catalog: warning: {warning}")
    return {
        "warnings": warnings,
        "format_version": FORMAT_VERSION,
        "seed": seed,
        "limit": limit,
        "products": products,
        "goals": goals,
        "sha256": sources,
    }
