"""Plays cases again that were recorded from the original code and counts where this engine agrees.

A case file is one JSON object: ``rewards``, ``sessions``, ``searches``, ``normalize_color``, ``goals_human``,
``goals_synthetic`` and ``meta.{mode}.prices``; kinds that a file lacks are not counted.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.files import read_json
from prism.environments.webshop.goals import MODES, Goal, Mode
from prism.environments.webshop.products import CatalogFiles
from prism.environments.webshop.rewards import normalize_color, score_purchase
from prism.environments.webshop.session import Session
from prism.environments.webshop.store import Store, compile_store

REWARD_TOLERANCE = 1e-9
# recorded scores are rounded to four decimals
SCORE_TOLERANCE = 1.5e-4
_SHOWN_CHARACTERS = 400


@dataclass(frozen=True)
class Difference:
    """Where the engine and a record part ways."""

    place: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.place}\n  recorded: {_short(self.expected)}\n  here:     {_short(self.found)}"


@dataclass
class Tally:
    """Agreement in one kind of case."""

    agreed: int = 0
    total: int = 0
    first: Difference | None = None

    def count(self, difference: Difference | None) -> None:
        """Add one case."""
        self.total += 1
        if difference is None:
            self.agreed += 1
        elif self.first is None:
            self.first = difference


def count_agreement(catalog: str | Path, oracle: str | Path, seed: int) -> dict[str, Tally]:
    """Compile the catalog in a scratch folder, play every case again, and tally agreement by kind.

    Args:
        seed: what the recorder seeded the random generator with before it built the store.

    Raises:
        BadInput: a file cannot be read, or the case file is of another format.
    """
    cases = read_json(oracle)
    if not isinstance(cases, dict):
        raise BadInput(oracle, "is not an object of cases", "give a recorded oracle file")
    files = CatalogFiles.in_folder(catalog)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            modes = _modes(cases)
            compile_store(files, Path(scratch) / "store", seed, modes, tagged_titles=0)
            return _tally(cases, {mode: Store(Path(scratch) / "store", mode) for mode in modes})
        except (KeyError, TypeError) as error:
            raise BadInput(oracle, f"has a case of another format ({error!r})", "record it again") from error


def _modes(cases: Mapping[str, Any]) -> list[Mode]:
    """The goal lists that the cases are about; a catalog need not be able to give the other."""
    played = {case["mode"] for case in cases.get("sessions", ())}
    known = [mode for mode in MODES if mode in played or f"goals_{mode}" in cases or mode in cases.get("meta", {})]
    return known or ["human"]


def _tally(cases: Mapping[str, Any], stores: Mapping[str, Store]) -> dict[str, Tally]:
    # products, prices and search are the same whatever the goals
    any_store = next(iter(stores.values()))
    kinds: dict[str, Callable[[], Iterator[Difference | None]]] = {
        "prices": lambda: _compare_prices(cases.get("meta", {}), stores),
        "goals": lambda: _compare_goals(cases, stores),
        "searches": lambda: _compare_searches(cases.get("searches", ()), any_store),
        "colors": lambda: _compare_colors(cases.get("normalize_color", {})),
        "rewards": lambda: _compare_rewards(cases.get("rewards", ()), any_store),
        "sessions": lambda: _compare_sessions(cases.get("sessions", ()), stores),
    }
    tallies = {}
    for kind, compare in kinds.items():
        tally = Tally()
        for difference in compare():
            tally.count(difference)
        if tally.total:
            tallies[kind] = tally
    return tallies


def _compare_prices(meta: Mapping[str, Any], stores: Mapping[str, Store]) -> Iterator[Difference | None]:
    for mode, store in stores.items():
        for asin, price in meta.get(mode, {}).get("prices", {}).items():
            position = store.position(asin)
            yield _differ(f"{mode} price of {asin}", price, None if position is None else store.price(position))


def _compare_goals(cases: Mapping[str, Any], stores: Mapping[str, Store]) -> Iterator[Difference | None]:
    for mode, store in stores.items():
        recorded = cases.get(f"goals_{mode}")
        if recorded is None:
            continue
        yield _differ(f"number of {mode} goals", len(recorded), len(store.goals))
        for number, (expected, goal) in enumerate(zip(recorded, store.goals, strict=False)):
            yield _differ(f"{mode} goal {number}", expected, goal.to_record())


def _compare_searches(searches: list, store: Store) -> Iterator[Difference | None]:
    for case in searches:
        place, found = f"search {case['query']!r}", store.search_scored(case["query"])
        difference = _differ(place, [asin for asin, _ in case["hits"]], [asin for asin, _ in found])
        for (_, expected), (asin, score) in zip(case["hits"], found, strict=False):
            if difference is None and abs(score - expected) > SCORE_TOLERANCE:
                difference = Difference(f"{place} score of {asin}", expected, score)
        yield difference


def _compare_colors(colors: Mapping[str, str]) -> Iterator[Difference | None]:
    for option, expected in colors.items():
        yield _differ(f"color of {option!r}", expected, normalize_color(option))


def _compare_rewards(rewards: list, store: Store) -> Iterator[Difference | None]:
    for number, case in enumerate(rewards):
        position = store.position(case["purchased"])
        if position is None:
            yield Difference(f"reward {number}", case["purchased"], "no such product in the catalog")
            continue
        goal = Goal.from_record(case["goal"])
        reward = score_purchase(store.product(position), case["price"], case["options"], goal)
        difference = _differ_numbers(f"reward {number}", case["reward"], reward.total)
        yield difference or _differ_components(f"reward {number}", case.get("info"), reward.components())


def _compare_sessions(sessions: list, stores: Mapping[str, Store]) -> Iterator[Difference | None]:
    generators = {mode: store.rng_after_opening() for mode, store in stores.items()}
    for number, case in enumerate(sessions):
        store = stores[case["mode"]]
        session = Session(
            store, store.goals[case["goal_idx"]], score_purchase, generators[case["mode"]], str(case["goal_idx"])
        )
        place = f"session {number} ({case['mode']} goal {case['goal_idx']}, {case.get('policy', 'recorded')})"
        yield _compare_session(place, case, session)


def _compare_session(place: str, case: Mapping[str, Any], session: Session) -> Difference | None:
    if difference := _differ(f"{place} instruction", case["instruction"], session.goal.instruction):
        return difference
    for number, step in enumerate(case["steps"]):
        here = f"{place} step {number}"
        available = {"has_search_bar": session.page.has_search_bar, "clickables": list(session.page.clickables)}
        difference = _differ(f"{here} observation", step["obs"], session.observation)
        difference = difference or _differ(f"{here} available actions", step["available"], available)
        if difference:
            return difference
        outcome = session.step(step["action"])
        difference = _differ_numbers(f"{here} reward after {step['action']!r}", step["reward"], outcome.reward)
        difference = difference or _differ(f"{here} done", step["done"], outcome.done)
        if difference:
            return difference
    if difference := _differ(f"{place} last observation", case["final_obs"], session.observation):
        return difference
    if case.get("verbose") is None:
        return None
    found = session.purchase.components() if session.purchase else None
    return _differ_components(place, case["verbose"], found)


def _differ(place: str, expected: Any, found: Any) -> Difference | None:
    return None if expected == found else Difference(place, expected, found)


def _differ_numbers(place: str, expected: float, found: float) -> Difference | None:
    close = math.isclose(expected, found, rel_tol=0, abs_tol=REWARD_TOLERANCE)
    return None if close else Difference(place, expected, found)


def _differ_components(place: str, expected: Mapping[str, Any] | None, found: Any) -> Difference | None:
    if expected is None:
        return None
    if found is None or expected.keys() != found.keys():
        return Difference(f"{place} components", expected, found)
    for name, value in expected.items():
        if difference := _differ_numbers(f"{place} component {name}", value, found[name]):
            return difference
    return None


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + " ..."
