"""Two versions of the paper: which published values changed, and which findings survive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prism.core.csv_files import read_table
from prism.stages.audit.findings import Finding
from prism.stages.audit.paper import read_claims

# columns that name a row, by file
KEYS = {
    "table1.csv": ("split", "method"),
    "table2.csv": ("backbone", "method"),
    "table3.csv": ("benchmark", "method"),
    "table4.csv": ("method",),
    "statements.csv": ("id",),
}
CLAIMS = "claims.yaml"
ABSENT = "not there"
STANDS, NEW = "stands", "new"


@dataclass(frozen=True)
class Change:
    """A published value that is another one in the later version.

    Attributes:
        place: file, row and column.
        before, after: the values; `ABSENT` where a version has none.
    """

    place: str
    before: str
    after: str


def changed_values(before: str | Path, after: str | Path) -> list[Change]:
    """Values of the tables, of the text and of the claims that differ between two folders.

    Raises:
        BadInput: a file of either folder is missing or broken.
    """
    changes = []
    for name in (*KEYS, CLAIMS):
        old, new = _values(Path(before) / name), _values(Path(after) / name)
        for key in dict.fromkeys([*old, *new]):
            values = old.get(key, ABSENT), new.get(key, ABSENT)
            if values[0] != values[1]:
                changes.append(Change(f"{name}: {key}", *values))
    return changes


def _values(path: Path) -> dict[str, str]:
    """Every value of a file by the names of its row and column."""
    if path.name == CLAIMS:
        claims = read_claims(path)
        shown = {claim.id: (claim.threshold, *claim.published, claim.statement) for claim in claims}
        return {identifier: ", ".join(map(str, parts)) for identifier, parts in shown.items()}
    table = read_table(path)
    keys = [table.column(name) for name in KEYS[path.name]]
    columns = [name for name in table.columns if name not in KEYS[path.name]]
    return {
        ", ".join((*key, column)): value
        for column in columns
        for *key, value in zip(*keys, table.column(column), strict=True)
    }


def fate(finding: Finding, before: Mapping[str, Finding]) -> str:
    """What became of a finding: it stands, with other numbers or not, has another verdict, or is new."""
    old = before.get(finding.id)
    if old is None:
        return NEW
    if old.verdict != finding.verdict:
        return f"was: {old.verdict}"
    return STANDS if old.result == finding.result else f"{STANDS}, with other numbers"


def as_markdown(
    name: str, changes: Sequence[Change], findings: Sequence[Finding], before: Mapping[str, Finding]
) -> list[str]:
    """The section on what changed since the version called `name`."""
    lines = ["", f"## What changed since {name}", ""]
    lines += [f"{len(changes)} published values differ.", ""]
    if changes:
        lines += ["| value | before | now |", "| --- | --- | --- |"]
        lines += [f"| {change.place} | {change.before} | {change.after} |" for change in changes]
    fates = {finding.id: fate(finding, before) for finding in findings}
    standing = sum(what == STANDS for what in fates.values())
    gone = [identifier for identifier in before if identifier not in fates]
    lines += ["", f"{standing} of {len(before)} findings stand unchanged.", ""]
    if standing < len(fates) or gone:
        lines += ["| finding | what became of it |", "| --- | --- |"]
        moved = {finding.id: finding for finding in findings if fates[finding.id] != STANDS}
        lines += [f"| {key} | **{finding.verdict}**: {fates[key]} |" for key, finding in moved.items()]
        lines += [f"| {identifier} | gone |" for identifier in gone]
    return lines
