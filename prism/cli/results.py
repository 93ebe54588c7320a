"""Commands that make results: cells, tables, summaries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism import __version__

Scale = Annotated[str, typer.Option(help="Scale of the run; results say what it means.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(version)
    app.command()(show)
    app.command("table1-row")(table1_row)
    app.command("table1")(table1)
    app.command("benchmark-summary")(benchmark_summary)


def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def show(file: Annotated[Path, typer.Argument(help="A table of results (CSV).")]) -> None:
    """Print a table of results in the terminal, and where it is."""
    from prism.stages.tables import print_table

    print_table(file)


def table1_row(
    split: Annotated[str, typer.Option(help="seen or unseen.")],
    method: Annotated[str, typer.Option()],
    backbone: Annotated[str, typer.Option()],
    sft: Annotated[str, typer.Option(help="Percent of the corpus that SFT saw, - for none.")],
    rl: Annotated[str, typer.Option(help="Percent of the corpus that RL saw, - for none.")],
    scale: Scale,
    paper: Annotated[Path, typer.Option(help="The paper's values.")],
    out: Annotated[Path, typer.Option(help="Folder of the row's cells.")],
    evaluations: Annotated[list[Path], typer.Argument(help="One evaluation a seed.")],
) -> None:
    """Write the cells of one row of Table 1."""
    from prism.stages.cells import CellContext, write_table1_row

    write_table1_row(CellContext(split, method, backbone, sft, rl, scale), evaluations, paper, out)


def table1(
    methods: Annotated[str, typer.Option(help="Methods in the order of the rows, separated by commas.")],
    scale: Scale,
    out_csv: Annotated[Path, typer.Option()],
    out_md: Annotated[Path, typer.Option()],
    cells: Annotated[list[Path], typer.Argument(help="The table's cells.")],
) -> None:
    """Assemble Table 1 from its cells."""
    from prism.stages.tables import build_table1

    build_table1(cells, methods.split(","), scale, out_csv, out_md)


def benchmark_summary(
    folder: Annotated[Path, typer.Option(help="Folder of Snakemake's benchmark files.")],
    out: Annotated[Path, typer.Option()],
) -> None:
    """Sum up seconds and memory by rule."""
    from prism.stages.summary import summarise_benchmarks

    summarise_benchmarks(folder, out)
