"""Success rates of anybody's table: method, group, rate as printed, and the number of episodes where it is stated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prism.core.csv_files import read_table
from prism.core.errors import BadInput

PRINTED = re.compile(r"(\d{1,3})(?:\.(\d{1,4}))?")
# the group that is the rate over all others that stand before the same slash
OVERALL = "all"


@dataclass(frozen=True)
class RateTable:
    """A table of success rates.

    Attributes:
        name: of the file, without its ending.
        texts: rates as printed, by (group, method), in the order of the file.
        episodes: number of episodes by (group, method), where the file gives it.
    """

    name: str
    texts: Mapping[tuple[str, str], str]
    episodes: Mapping[tuple[str, str], int]

    @cached_property
    def decimals(self) -> int:
        """Printed decimals: the most that any rate has."""
        return max(len(text.partition(".")[2]) for text in self.texts.values())

    @property
    def whole(self) -> int:
        """100 percent in units of the last printed digit."""
        return 100 * 10**self.decimals

    @property
    def groups(self) -> list[str]:
        """Groups in the order of the file."""
        return list(dict.fromkeys(group for group, _ in self.texts))

    def rates(self, group: str) -> dict[str, int]:
        """Rates of a group by method, in units of the last printed digit."""
        unit = 10**self.decimals
        return {name: round(float(text) * unit) for (key, name), text in self.texts.items() if key == group}

    def stated_episodes(self, group: str) -> dict[str, int]:
        """Stated numbers of episodes of a group by method."""
        return {name: count for (key, name), count in self.episodes.items() if key == group}


def read_rates(path: str | Path) -> RateTable:
    """Read a table of rates in percent: columns method, group, rate, and n if it is known.

    Raises:
        BadInput: a column is missing, a rate is no printed percentage, n no whole number, or a cell comes twice.
    """
    table = read_table(path)
    if not table.rows:
        raise BadInput(table.path, "holds no rate", "give one line a method and group")
    keys = list(zip(table.column("group"), table.column("method"), strict=True))
    counts = table.column("n") if "n" in table.columns else [""] * len(keys)
    texts: dict[tuple[str, str], str] = {}
    episodes: dict[tuple[str, str], int] = {}
    for index, (key, text, count) in enumerate(zip(keys, table.column("rate"), counts, strict=True)):
        group, method = key
        if not group or not method:
            raise BadInput(table.place(index), "has no method or no group", "name both")
        if key in texts:
            raise BadInput(table.place(index), f"repeats {method!r} in {group!r}", "delete one of them")
        if not PRINTED.fullmatch(text) or float(text) > 100:
            raise BadInput(table.place(index), f"rate is {text!r}", "give it in percent as printed, such as 61.74")
        if count and (not count.isdecimal() or int(count) == 0):
            raise BadInput(table.place(index), f"n is {count!r}", "give a whole number of episodes, or leave it empty")
        texts[key] = text
        if count:
            episodes[key] = int(count)
    return RateTable(table.path.stem, texts, episodes)
