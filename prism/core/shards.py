"""Work in parts: which part a job does, and what it has finished, so that an interrupted one goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from prism.core.errors import BadInput
from prism.core.progress import say

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 0, of `count`: every `count`-th item.

    Raises:
        BadInput: there is no such part.
    """

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            problem = f"{self.number} of {self.count} does not exist"
            raise BadInput("shard", problem, f"shards count from 0 to {self.count - 1}")

    def of(self, items: list[Item]) -> list[Item]:
        """The items of this part."""
        return items[self.number :: self.count]


class Journal:
    """Append-only JSON lines beside the output: a fingerprint of the run, then one line a finished trajectory.

    Floats are written with `repr` precision, so that what is read back is bit for bit what was computed.

    Args:
        path: the journal's file.
        fingerprint: everything the norms depend on; a journal with another fingerprint is not used.
    """

    def __init__(self, path: Path, fingerprint: Mapping[str, Any]):
        self.path, self.fingerprint = path, dict(fingerprint)

    def read(self) -> dict[str, dict]:
        """Finished records by id, their lists of numbers as arrays; empty without a journal of this very run."""
        if not self.path.is_file():
            return {}
        records = iter(_complete_lines(self.path))
        if next(records, None) != self.fingerprint:
            say(f"{self.path} belongs to another run (model, data or settings differ): starting over")
            return {}
        return {record["id"]: _with_arrays(record) for record in records}

    def start(self, records: Iterable[dict] = ()) -> None:
        """Begin a new journal with the records kept from the last one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("w", encoding="utf-8") as out:
            for record in (self.fingerprint, *records):
                out.write(json.dumps(record, default=np.ndarray.tolist) + "\n")

    def append(self, records: Iterable[dict]) -> None:
        """Add finished records; they survive a kill of the process from here on."""
        with self.path.open("a", encoding="utf-8") as out:
            out.write("".join(json.dumps(record) + "\n" for record in records))

    def loop_seconds(self) -> float:
        """Seconds that the finished records took, those of interrupted runs too: the sum of their ``seconds``."""
        return sum(record.get("seconds", 0.0) for record in self.read().values())

    def remove(self) -> None:
        """Delete the journal once the output stands."""
        self.path.unlink(missing_ok=True)


def journal_fingerprint(path: Path) -> dict[str, Any]:
    """What a journal that an interrupted run left says it depends on; empty where there is none."""
    return next(iter(_complete_lines(path)), {}) if path.is_file() else {}


def _with_arrays(record: dict) -> dict:
    """Eight bytes a number, where a list of Python's own takes 32."""
    return {name: np.array(value) if isinstance(value, list) else value for name, value in record.items()}


def gather_journals(whole: Path, parts: Sequence[Path]) -> None:
    """Put what several processes of one run have finished into the journal that one process would have left.

    Journals of another run than the first part's are dropped with a word, and so is a line that a kill cut short.

    Args:
        whole: the journal to write; what it holds of the same run stays.
        parts: journals of the processes; they are deleted.
    """
    if not (facts := next(filter(None, map(journal_fingerprint, parts)), {})):
        return
    records: dict[str, dict] = {}
    for path in (whole, *parts):
        records |= Journal(path, facts).read()
    temporary = whole.with_name(f"{whole.name}.new")
    Journal(temporary, facts).start(records.values())
    temporary.replace(whole)
    for path in parts:
        path.unlink()


def _complete_lines(path: Path) -> Iterable[dict]:
    """Records up to the first line that a kill cut short."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return
