"""Commands that hold the paper against itself, and a run against the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.outputs import output_file

PaperFolder = Annotated[Path, typer.Option(help="Folder of the paper's published numbers.")]
OutCsv = Annotated[Path, typer.Option(parser=output_file, help="One line a finding (CSV).")]
OutMd = Annotated[Path, typer.Option(parser=output_file, help="The same for people (Markdown).")]


def audit(
    paper: PaperFolder,
    out_csv: OutCsv,
    out_md: OutMd,
    before: Annotated[
        Path | None, typer.Option(help="Folder of an earlier version: what changed, what stands?")
    ] = None,
) -> None:
    """Recompute the paper's published numbers from each other."""
    from prism.stages.audit import audit_paper

    audit_paper(paper, out_csv, out_md, before)


def audit_table(
    tables: Annotated[list[Path], typer.Argument(help="CSV with the columns method, group, rate and, if known, n.")],
    out_csv: Annotated[Path | None, typer.Option(parser=output_file, help="Also one line a finding (CSV).")] = None,
) -> None:
    """Check the success rates of any paper: sample sizes, panels, rows that stand twice, differences beyond chance."""
    from prism.tools.audit_table import audit_tables

    for finding in audit_tables(tables, out_csv):
        typer.echo(f"{finding.verdict:9}  {finding.place}, {finding.claim}\n           {finding.result}")
        typer.echo(f"           -> {finding.meaning}")


def compare(
    paper: PaperFolder,
    recipe: Annotated[str, typer.Option(help="JSON: scale, targets, backbones of each target.")],
    out: Annotated[Path, typer.Option(help="Folder that gets comparison.csv, comparison.md and claims.json.")],
    evaluations: Annotated[list[Path] | None, typer.Argument(help="All evaluations of the run.")] = None,
    times: Annotated[Path | None, typer.Option(help="Table 3 of the run (CSV).")] = None,
    norms: Annotated[
        list[Path] | None, typer.Option(help="Gradient norms {benchmark}/{backbone}/{shard}.parquet; repeatable.")
    ] = None,
    sensitivity: Annotated[Path | None, typer.Option(help="Appendix G of the run (CSV).")] = None,
) -> None:
    """Set each claim of the paper beside this run: estimate, interval, verdict."""
    from prism.core.recipes import build_recipe
    from prism.stages.comparison import ComparisonRecipe, compare_with_paper

    settings = build_recipe(ComparisonRecipe, recipe, "--recipe")
    compare_with_paper(paper, evaluations or [], settings, out, times, norms or [], sensitivity)
