"""The published numbers: one version of ``resources/paper`` as typed tables. Rates stay hundredths of a percent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from prism.core.csv_files import Table, missing_column, read_table
from prism.core.errors import BadInput
from prism.core.paper_tables import TABLE1_PANELS, TASK_TYPES

REMEDY = "copy the value from the paper again"
CLAIM_KEYS = {"id", "place", "statement", "quantity", "threshold", "below", "paper"}
BENCHMARKS = ("alfworld", "webshop")
QUANTITIES = ("gain", "speedup", "share", "consensus", "spearman", "study")
HUNDREDTHS = re.compile(r"\d{1,3}\.\d\d")


@dataclass(frozen=True)
class Version:
    """Which version of the paper numbers are from.

    Attributes:
        name: as the audit writes it beside every number.
        date: when it appeared, as far as known.
        url: where it can be read.
    """

    name: str
    date: str
    url: str


@dataclass(frozen=True)
class Row:
    """A row of Table 1: hundredths of a percent by task type, and over all tasks."""

    split: str
    method: str
    sft: str
    rl: str
    tasks: Mapping[str, int]
    overall: int


@dataclass(frozen=True)
class ShopRow:
    """A row of Table 2: success rate and average score, in hundredths of a percent."""

    backbone: str
    method: str
    sft: str
    rl: str
    success: int
    score: int


@dataclass(frozen=True)
class TimeRow:
    """A row of Table 3: seconds of each phase (0: there is none), and the speed-up in hundredths."""

    benchmark: str
    method: str
    probe: int
    sft: int
    rl: int
    total: int
    speedup: int


@dataclass(frozen=True)
class MagnitudeRow:
    """A row of Table 4: WebShop's score and ALFWorld's success rate, in hundredths of a percent."""

    method: str
    score: int
    success: int


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        quantity: what it is about; the keys are explained at the top of ``claims.yaml``.
        threshold: the claim holds where the quantity is above it; with `below`, where it is below it.
        published: the paper's value of the quantity, one for each method compared with; may be empty.
    """

    id: str
    place: str
    statement: str
    quantity: Mapping
    threshold: float
    below: bool
    published: tuple[float, ...]


@dataclass(frozen=True)
class Paper:
    """All published numbers that the checks use.

    Attributes:
        statements: numbers of the text, by id; ``places`` says where each one stands.
        outside: numbers that are not the paper's: other works, measurements, assumptions; ``outside.csv`` has sources.
        games: games of each task type that exist in ALFWorld's splits.
    """

    version: Version
    alfworld: tuple[Row, ...]
    webshop: tuple[ShopRow, ...]
    times: tuple[TimeRow, ...]
    magnitude: tuple[MagnitudeRow, ...]
    statements: Mapping[str, str]
    places: Mapping[str, str]
    outside: Mapping[str, float]
    games: Mapping[str, Mapping[str, int]]
    claims: tuple[Claim, ...]

    def rows(self, split: str) -> list[Row]:
        """Rows of one half of Table 1."""
        return [row for row in self.alfworld if row.split == split]

    def number(self, name: str) -> float:
        """A number of the text."""
        return float(self.statements[name])

    def rate_groups(self) -> dict[str, dict[str, int]]:
        """Overall success rates, hundredths of a percent: those in one group were evaluated alike."""
        groups = {f"table 1, {split}": {row.method: row.overall for row in self.rows(split)} for split in TABLE1_PANELS}
        return groups | {"table 2": {f"{row.backbone} {row.method}": row.success for row in self.webshop}}


def read_paper(folder: str | Path) -> Paper:
    """Read the published numbers.

    Raises:
        BadInput: a file is missing, a column or statement is, or a value is not what its column holds.
    """
    folder = Path(folder)
    statements, outside = read_table(folder / "statements.csv"), read_table(folder / "outside.csv")
    values = dict(zip(statements.column("id"), statements.column("value"), strict=True))
    paper = Paper(
        version=read_version(folder),
        alfworld=tuple(_alfworld_rows(read_table(folder / "table1.csv"))),
        webshop=tuple(_webshop_rows(read_table(folder / "table2.csv"))),
        times=tuple(_time_rows(read_table(folder / "table3.csv"))),
        magnitude=tuple(_magnitude_rows(read_table(folder / "table4.csv"))),
        statements=values,
        places=dict(zip(statements.column("id"), statements.column("place"), strict=True)),
        outside=dict(zip(outside.column("id"), outside.numbers("value"), strict=True)),
        games=_games(read_table(folder / "alfworld_tasks.csv")),
        claims=read_claims(folder / "claims.yaml"),
    )
    _require_statements(statements.path, values)
    for name in OUTSIDE:
        if name not in paper.outside:
            raise missing_statement(outside.path, name, list(paper.outside))
    return paper


def read_version(folder: str | Path) -> Version:
    """Read which version of the paper a folder holds.

    Raises:
        BadInput: ``version.yaml`` is missing, or does not name it.
    """
    path = Path(folder) / "version.yaml"
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Version(*(str(record[key]) for key in ("name", "date", "url")))
    except OSError as error:
        raise BadInput(path, f"cannot be read ({error.strerror})", "name the paper's version in it") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise BadInput(path, "has no name, date and url of the paper's version", "see resources/paper/v1") from error


def read_claims(path: str | Path) -> tuple[Claim, ...]:
    """Read the list of claims.

    Raises:
        BadInput: it is not YAML, or a claim lacks a key or has an unknown one.
    """
    path = Path(path)
    try:
        records = yaml.safe_load(path.read_text(encoding="utf-8"))["claims"]
    except OSError as error:
        raise BadInput(path, f"cannot be read ({error.strerror})", "check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise BadInput(path, "is not a YAML file with a list 'claims'", "restore the file") from error
    if not isinstance(records, list) or not records:
        raise BadInput(path, "'claims' is not a list of claims", "restore the file")
    claims = tuple(_claim(f"{path}: claim {number}", record) for number, record in enumerate(records, 1))
    seen: set[str] = set()
    for claim in claims:
        if claim.id in seen:
            raise BadInput(path, f"repeats claim {claim.id!r}", "make ids unique")
        seen.add(claim.id)
    return claims


def _claim(place: str, record: object) -> Claim:
    remedy = "see the head of the file"
    if not isinstance(record, dict):
        raise BadInput(place, "is not a mapping", remedy)
    if unknown := sorted(map(str, set(record) - CLAIM_KEYS)):
        raise BadInput(place, f"unknown key {unknown[0]!r}", remedy)
    for key in ("id", "place", "statement"):
        if not isinstance(record.get(key), str) or not record[key]:
            raise BadInput(place, f"{key!r} is missing or not a text", remedy)
    place = f"{place} ({record['id']})"
    if ("threshold" in record) == ("below" in record):
        raise BadInput(place, "needs either 'threshold' or 'below'", remedy)
    below = "below" in record
    published = record.get("paper", [])
    if not isinstance(published, list):
        raise BadInput(place, "'paper' is not a list", remedy)
    for number in (record["below" if below else "threshold"], *published):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise BadInput(place, f"{number!r} is not a number", remedy)
    quantity = record.get("quantity")
    if not isinstance(quantity, dict) or quantity.get("kind") not in QUANTITIES or "table" not in quantity:
        raise BadInput(place, f"'quantity' needs a table and a kind of {', '.join(QUANTITIES)}", remedy)
    threshold = float(record["below"] if below else record["threshold"])
    return Claim(record["id"], record["place"], record["statement"], quantity, threshold, below, tuple(published))


def _alfworld_rows(table: Table) -> list[Row]:
    tasks = {task: _rates(table, task) for task in TASK_TYPES}
    overall = _rates(table, "all")
    names = zip(*(table.column(name) for name in ("split", "method", "sft", "rl")), strict=True)
    rows = []
    for index, (split, method, sft, rl) in enumerate(names):
        if split not in TABLE1_PANELS:
            raise BadInput(table.place(index), f"unknown split {split!r}", f"use one of {', '.join(TABLE1_PANELS)}")
        by_task = {task: rates[index] for task, rates in tasks.items()}
        rows.append(Row(split, method, sft, rl, by_task, overall[index]))
    _require_unique(table, [(row.split, row.method) for row in rows])
    return rows


def _webshop_rows(table: Table) -> list[ShopRow]:
    names = (table.column(name) for name in ("backbone", "method", "sft", "rl"))
    rows = [ShopRow(*fields) for fields in zip(*names, _rates(table, "sr"), _rates(table, "score"), strict=True)]
    _require_unique(table, [(row.backbone, row.method) for row in rows])
    return rows


def _time_rows(table: Table) -> list[TimeRow]:
    names = (table.column(name) for name in ("benchmark", "method"))
    phases = (_seconds(table, f"{phase}_seconds") for phase in ("probe", "sft", "rl", "total"))
    rows = [TimeRow(*fields) for fields in zip(*names, *phases, _rates(table, "speedup"), strict=True)]
    _require_unique(table, [(row.benchmark, row.method) for row in rows])
    return rows


def _magnitude_rows(table: Table) -> list[MagnitudeRow]:
    columns = (table.column("method"), _rates(table, "webshop_score"), _rates(table, "alfworld_sr"))
    rows = [MagnitudeRow(*fields) for fields in zip(*columns, strict=True)]
    _require_unique(table, [row.method for row in rows])
    return rows


def _games(table: Table) -> dict[str, dict[str, int]]:
    counts = {task: _seconds(table, task) for task in TASK_TYPES}
    splits = table.column("split")
    return {split: {task: counts[task][index] for task in TASK_TYPES} for index, split in enumerate(splits)}


def _rates(table: Table, column: str) -> list[int]:
    """Numbers with two decimals, as hundredths: the last printed digit is what the checks rest on."""
    values = []
    for index, text in enumerate(table.column(column)):
        if not HUNDREDTHS.fullmatch(text) or (column != "speedup" and float(text) > 100):
            raise BadInput(table.place(index), f"{column} is {text!r}, not a number with two decimals", REMEDY)
        values.append(int(text.replace(".", "")))
    return values


def _seconds(table: Table, column: str) -> list[int]:
    values = []
    for index, text in enumerate(table.column(column)):
        if text != "-" and not text.isdecimal():
            raise BadInput(table.place(index), f"{column} is {text!r}, not a whole number", REMEDY)
        values.append(0 if text == "-" else int(text))
    return values


def _require_unique(table: Table, keys: list) -> None:
    for index, key in enumerate(keys):
        if key in keys[:index]:
            raise BadInput(table.place(index), "repeats a row", "delete one of them")


def _require_statements(path: Path, values: Mapping[str, str]) -> None:
    for name in STATEMENTS:
        if name not in values:
            raise missing_statement(path, name, list(values))
        if name in WORDS:
            if values[name] not in WORDS[name]:
                raise BadInput(path, f"{name} is {values[name]!r}", f"use {' or '.join(WORDS[name])}")
            continue
        try:
            float(values[name])
        except ValueError as error:
            raise BadInput(path, f"{name} is {values[name]!r}, not a number", REMEDY) from error


def missing_statement(path: Path, name: str, known: list[str]) -> BadInput:
    """The error for a number of the text that is not there."""
    error = missing_column(path, name, known)
    return BadInput(path, f"has no row {name!r}", error.remedy)


STATEMENTS = (
    "seeds",
    "gain-seen-sft-then-rl",
    "gain-unseen-sft-then-rl",
    "gain-llama-sft-then-rl",
    "gain-webshop-magnitude",
    "rl-budget",
    "probe-share-low",
    "probe-share-high",
    "webshop-time-saved",
    "speedup",
    "consensus",
    "consensus-chance-low",
    "consensus-chance-high",
    "probe-gpus",
    "probe-tokens-alfworld",
    "probe-tokens-webshop",
    "sota-alfworld",
    "sota-webshop",
    "scale-invariance",
    "loss-tokens-equation",
    "loss-tokens-appendix",
)
# statements that are words
WORDS = {
    "scale-invariance": ("subset", "all"),
    "loss-tokens-equation": ("response", "all"),
    "loss-tokens-appendix": ("response", "all"),
}
OUTSIDE = (
    "baseline-alfworld",
    "baseline-webshop",
    "rl-episodes-a-step",
    "rl-steps",
    "hpt-rollouts",
    *(f"{name}-{benchmark}" for name in ("corpus", "tokens-sequence", "tokens-steps") for benchmark in BENCHMARKS),
    "layer-parameters",
    "peak-flops",
    "good-utilisation",
    "matrices",
    "parameters",
    "probe-memory",
    "probe-memory-checkpointed",
)
