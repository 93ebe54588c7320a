"""Speed and memory of the WebShop engine on generated catalogs: `python benchmarks/webshop.py`.

Each measurement runs in a process of its own, so that its peak memory is its own. Nothing is cached between runs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from prism.environments.webshop.generator import CatalogRecipe, generate_catalog
from prism.environments.webshop.products import CatalogFiles
from prism.environments.webshop.store import Store, compile_store

# Recorded with the original code (Flask, BeautifulSoup, Lucene) on 260 products, for orientation.
ORIGINAL_STEPS_PER_CPU_SECOND = "23-25"
# Words of a description: the real catalog's products have about this much text.
DESCRIPTION_WORDS = 120
MAX_STEPS = 15
QUERIES = 300


def peak_memory_gib() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def build(folder: Path) -> dict[str, float]:
    """Compile the catalog: parse, price, goals, index."""
    started = time.perf_counter()
    compile_store(CatalogFiles.in_folder(folder / "catalog"), folder / "store", seed=1, modes=["human"])
    seconds = time.perf_counter() - started
    size = sum(path.stat().st_size for path in (folder / "store").rglob("*") if path.is_file())
    return {"build_s": seconds, "build_gib": peak_memory_gib(), "disk_gib": size / 2**30}


def search(folder: Path) -> dict[str, float]:
    """Search with whole instructions, the longest queries that agents send; no query twice."""
    store = Store(folder / "store", "human")
    queries = [goal.instruction.lower() for goal in store.goals[: QUERIES + 20]]
    for query in queries[:20]:
        store.search(query)
    milliseconds = []
    for query in queries[20:]:
        started = time.perf_counter()
        store.search(query)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return {
        "search_ms_median": statistics.median(milliseconds),
        "search_ms_p95": statistics.quantiles(milliseconds, n=20)[-1],
        "search_gib": peak_memory_gib(),
    }


def play(folder: Path) -> dict[str, float]:
    """Random episodes through the environment, purchases and their rewards included, twice over the same goals."""
    from prism.environments.webshop.environment import SEARCH_CHOICE, WebshopEnvironment

    store = Store(folder / "store", "human")

    def episodes() -> float:
        rng, steps, started = random.Random(0), 0, time.process_time()
        for index in range(min(1000, len(store.goals))):
            environment = WebshopEnvironment(store, index)
            feedback, taken = environment.reset(), 0
            while not feedback.done and taken < MAX_STEPS:
                action = rng.choice(feedback.admissible)
                if action == SEARCH_CHOICE:
                    action = f"search[{environment.task}]"
                feedback, taken = environment.step(action), taken + 1
            steps += taken
        return steps / (time.process_time() - started)

    # the first pass tags each bought title once and runs each search once; training comes back to the same goals
    return {"steps_per_s_first_pass": episodes(), "steps_per_s": episodes(), "play_gib": peak_memory_gib()}


def measured_apart(measure: Callable[[Path], dict[str, float]], folder: Path) -> dict[str, float]:
    """Run a measurement in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (folder,))


def main() -> None:
    """Measure each catalog size and print one JSON object a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--words", type=int, default=DESCRIPTION_WORDS, help="words of a description")
    arguments = parser.parse_args()
    print(f"original code: {ORIGINAL_STEPS_PER_CPU_SECOND} steps per CPU-second (recorded, 260 products)")
    for products in arguments.products:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            generate_catalog(
                folder / "catalog", CatalogRecipe(products, seed=1, instructions=1, description_words=arguments.words)
            )
            row: dict[str, float] = {"products": products}
            for measure in (build, search, play):
                row |= measured_apart(measure, folder)
            print(json.dumps({name: round(value, 3) for name, value in row.items()}), flush=True)


if __name__ == "__main__":
    main()
