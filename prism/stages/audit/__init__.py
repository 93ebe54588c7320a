"""Audit of the paper: its published numbers recomputed from each other, without any run of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prism.core.csv_files import write_table
from prism.core.files import write_text
from prism.core.progress import say
from prism.stages.audit import versions
from prism.stages.audit.context import audit_context
from prism.stages.audit.findings import VERDICTS, Finding
from prism.stages.audit.grid import audit_grid
from prism.stages.audit.ordering import audit_ordering
from prism.stages.audit.panels import audit_panels
from prism.stages.audit.paper import Paper, Version, read_paper
from prism.stages.audit.significance import audit_significance
from prism.stages.audit.theory import audit_theory
from prism.stages.audit.times import audit_times

CHECKS: dict[str, Callable[[Paper], list[Finding]]] = {
    "Sums and orders": audit_ordering,
    "Which sample sizes allow the published rates": audit_grid,
    "Which tasks the methods were evaluated on": audit_panels,
    "Which differences exceed chance": audit_significance,
    "Times": audit_times,
    "Chance level and scale invariance": audit_theory,
    "Other works, and the paper elsewhere": audit_context,
}
COLUMNS = ("id", "verdict", "claim", "place", "check", "result", "meaning")
INTRODUCTION = """# The paper's published numbers, recomputed from each other

All numbers are those of {version}, but for what other works publish and for assumptions (`outside.csv`, with sources);
no run of ours enters. **agrees**: the claim follows from the published numbers. **note**: it may hold, but a reader
should know more. **not shown**: the published numbers do not contradict the claim, but chance explains them as well.
**disagrees**: the claim and the numbers cannot both be taken literally. None of this says whether the method works:
that is what a rerun is for."""


def audit_paper(
    folder: str | Path, out_csv: str | Path, out_md: str | Path, before: str | Path | None = None
) -> list[Finding]:
    """Recompute the paper's numbers and write what was found.

    Args:
        folder: one version's published numbers (``resources/paper/v1``).
        out_csv: one finding a line; with `before`, ``change`` says what became of it.
        out_md: the same for people.
        before: an earlier version's, to be compared with.

    Raises:
        BadInput: a file of a folder is missing or broken.
    """
    paper = read_paper(folder)
    sections = _check(paper)
    findings = [finding for section in sections.values() for finding in section]
    lines = _as_markdown(sections, paper.version)
    columns, rows = [*COLUMNS, "version"], []
    earlier: dict[str, Finding] = {}
    if before is not None:
        old = read_paper(before)
        earlier = {finding.id: finding for section in _check(old).values() for finding in section}
        lines += versions.as_markdown(old.version.name, versions.changed_values(before, folder), findings, earlier)
        columns.append("change")
    for finding in findings:
        row = [*(getattr(finding, column) for column in COLUMNS), paper.version.name]
        rows.append([*row, versions.fate(finding, earlier)] if before is not None else row)
    head = [
        f"Audit of {paper.version.name}: published numbers recomputed from each other; docs/audit.md has the checks"
    ]
    write_table(out_csv, head, columns, rows)
    write_text(out_md, "\n".join(lines) + "\n")
    counts = {verdict: sum(finding.verdict == verdict for finding in findings) for verdict in VERDICTS}
    say("audit: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return findings


def _check(paper: Paper) -> dict[str, list[Finding]]:
    return {title: check(paper) for title, check in CHECKS.items()}


def _as_markdown(sections: dict[str, list[Finding]], version: Version) -> list[str]:
    lines = [INTRODUCTION.format(version=f"[{version.name}]({version.url})")]
    for title, findings in sections.items():
        lines += [
            "",
            f"## {title}",
            "",
            "| | claim | check | result | what it means |",
            "| --- | --- | --- | --- | --- |",
        ]
        for finding in findings:
            claim = f"{finding.claim} ({finding.place})"
            cells = [f"**{finding.verdict}**", claim, finding.check, finding.result, finding.meaning]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines
