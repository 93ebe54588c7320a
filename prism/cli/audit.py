"""Commands that hold the paper against itself, and a run against the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PaperFolder = Annotated[Path, typer.Option(help="Folder of the paper's published numbers.")]
OutCsv = Annotated[Path, typer.Option(help="One line a finding (CSV).")]
OutMd = Annotated[Path, typer.Option(help="The same for people (Markdown).")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(audit)


def audit(paper: PaperFolder, out_csv: OutCsv, out_md: OutMd) -> None:
    """Recompute the paper's published numbers from each other."""
    from prism.stages.audit import audit_paper

    audit_paper(paper, out_csv, out_md)
