"""Shards of counted rollouts to pass rates (HPT), ranked.

A small model solves most tasks never, so most pass rates are equal: their order is broken by a seeded draw, and the
table and the split made from it say how many that concerns.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from prism.core.csv_files import Table, read_table, write_table
from prism.core.errors import BadInput, PrismError

# what all shards of one measurement agree in
COMMON_FACTS = ("model sha256", "panel sha256", "prompt format", "recipe", "tasks", "shards")
COLUMNS = (
    *("id", "pass_rate", "pass_rate_rank", "pass_rate_variance", "pass_rate_variance_rank"),
    *("solved", "rollouts", "errors"),
)


def merge_pass_rates(shard_csvs: Sequence[str | Path], out_csv: str | Path) -> None:
    """Join the shards of one measurement into a table of pass rates.

    Args:
        shard_csvs: every file that `prism stage pass-rates` wrote, in any order.
        out_csv: written with the columns id, pass_rate (share of solved rollouts), pass_rate_rank (0 is the lowest,
            ties broken by the seed), pass_rate_variance (p (1 - p): how much outcomes within a group differ) with its
            rank, solved, rollouts, errors, sorted by id; the head says how many pass rates are tied.

    Raises:
        BadInput: a shard is missing, twice there, cannot be read, or belongs to another measurement.
        PrismError: every episode broke: that is no pass rate of 0.
    """
    shards = [read_table(path) for path in shard_csvs]
    facts = _common_facts(shards)
    recipe = json.loads(facts["recipe"])
    rollouts, seed = recipe["rollouts"], recipe["seed"]
    counts = {
        name: (int(solved), int(errors))
        for shard in shards
        for name, solved, errors in zip(shard.column("id"), *map(shard.numbers, ("solved", "errors")), strict=True)
    }
    if len(counts) != int(facts["tasks"]):
        raise BadInput(
            shards[0].path, f"and the others hold {len(counts)} of {facts['tasks']} tasks", "measure the shards again"
        )
    ids = sorted(counts)
    solved, errors = ([counts[name][part] for name in ids] for part in (0, 1))
    if sum(errors) == len(ids) * rollouts:
        raise PrismError(f"{shards[0].path}: every episode of every shard broke; see the logs of the shards")
    rates = [count / rollouts for count in solved]
    head = [
        f"share of {rollouts} rollouts that solved the task, temperature {recipe['temperature']:g}; no unit",
        *(f"{key}: {facts[key]}" for key in ("model sha256", "panel sha256", "prompt format", "recipe")),
        *tie_lines(solved, rollouts),
    ]
    variances = [rate * (1 - rate) for rate in rates]
    ranks, variance_ranks = (tie_broken_ranks(ids, values, seed) for values in (rates, variances))
    counted = solved, [rollouts] * len(ids), errors
    write_table(out_csv, head, COLUMNS, zip(ids, rates, ranks, variances, variance_ranks, *counted, strict=True))


def _common_facts(shards: Sequence[Table]) -> dict[str, str]:
    """What the heads of the shards agree in.

    Raises:
        BadInput: they do not, or not every shard is there once.
    """
    facts: dict[str, str] = {}
    numbers = []
    for shard in shards:
        for key in (*COMMON_FACTS, "shard"):
            value = shard.note(key)
            if value is None:
                raise BadInput(shard.path, f"says nothing of its {key}", "make it with prism stage pass-rates")
            if key != "shard" and facts.setdefault(key, value) != value:
                raise BadInput(shard.path, f"has another {key} than {shards[0].path}", "measure all with one setting")
        numbers.append(int(shard.note("shard") or 0))
    wanted = range(int(facts.get("shards", 0)))
    if sorted(numbers) != list(wanted):
        missing = sorted(set(wanted) - set(numbers))
        what = f"shard {missing[0]} of {len(wanted)} is missing" if missing else "a shard is given twice"
        raise BadInput(shards[0].path, what, "give every shard once")
    return facts


def tie_broken_ranks(ids: Sequence[str], rates: Sequence[float], seed: int) -> list[int]:
    """Rank of every task, 0 for the lowest pass rate; equal rates are ordered by a draw.

    The draw depends on the seed and the set of ids alone, not on the order in which the tasks are listed.
    """
    shuffled = sorted(ids)
    random.Random(seed).shuffle(shuffled)
    draw = {identifier: position for position, identifier in enumerate(shuffled)}
    order = sorted(range(len(ids)), key=lambda index: (rates[index], draw[ids[index]]))
    ranks = [0] * len(ids)
    for rank, index in enumerate(order):
        ranks[index] = rank
    return ranks


def tie_lines(solved: Sequence[int], rollouts: int) -> list[str]:
    """Head lines: how many tasks were solved how often, and how many share their pass rate with another task."""
    counts = Counter(solved)
    tied = sum(count for count in counts.values() if count > 1)
    histogram = ", ".join(f"{times}/{rollouts}: {counts[times]}" for times in sorted(counts))
    return [f"tasks by solved rollouts: {histogram}", f"tied: {tied}", f"tied_share: {tied / len(solved):.4f}"]
