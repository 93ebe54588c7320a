"""Commands that make results: cells, tables, summaries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.outputs import output_file

Scale = Annotated[str, typer.Option(help="Scale of the run; results say what it means.")]


def show(file: Annotated[Path, typer.Argument(help="A table of results (CSV).")]) -> None:
    """Print a table of results in the terminal, and where it is."""
    from prism.tools.show import print_table

    print_table(file)


def cells(
    row: Annotated[str, typer.Option(help="Table, row, method and scale, as JSON (CellRecipe).")],
    paper: Annotated[Path, typer.Option(help="The paper's values of this table.")],
    out: Annotated[Path, typer.Option(help="Folder of the row's cells.")],
    evaluations: Annotated[list[Path], typer.Argument(help="One evaluation a seed.")],
) -> None:
    """Write the cells of one row of Table 1, 2 or 4 from its evaluations."""
    from prism.core.recipes import build_recipe
    from prism.stages.cells import CellRecipe, write_evaluation_cells

    write_evaluation_cells(build_recipe(CellRecipe, row, "--row"), evaluations, paper, out)


def timing_cells(
    row: Annotated[str, typer.Option(help="Row, method and scale, as JSON (CellRecipe).")],
    files: Annotated[str, typer.Option(help="Benchmark files by phase and seed, as JSON (TimingFiles).")],
    paper: Annotated[Path, typer.Option(help="The paper's values of Table 3.")],
    out: Annotated[Path, typer.Option(help="Folder of the row's cells.")],
) -> None:
    """Write the cells of one row of Table 3 from Snakemake's run times."""
    from prism.core.recipes import build_recipe
    from prism.stages.cells import CellRecipe
    from prism.stages.timings import TimingFiles, write_timing_cells

    recipe = build_recipe(CellRecipe, row, "--row")
    write_timing_cells(recipe, build_recipe(TimingFiles, files, "--files"), paper, out)


def table_statistics(
    table: Annotated[str, typer.Option(help="table1, table2 or table4.")],
    scale: Scale,
    out: Annotated[Path, typer.Option(parser=output_file, help="The tests (CSV).")],
    cells: Annotated[list[Path], typer.Argument(help="The cells whose methods are compared.")],
) -> None:
    """Compare a table's methods in pairs on the same tasks."""
    from prism.stages.tables.tests import write_tests

    write_tests(table, cells, scale, out)


def table(
    table: Annotated[str, typer.Option(help="table1 to table4.")],
    scale: Scale,
    out_csv: Annotated[Path, typer.Option(parser=output_file)],
    out_md: Annotated[Path, typer.Option(parser=output_file)],
    out_tex: Annotated[Path, typer.Option(parser=output_file)],
    cells: Annotated[list[Path], typer.Argument(help="The table's cells, in the order of its rows.")],
    tests: Annotated[Path | None, typer.Option(help="The table's paired tests.")] = None,
) -> None:
    """Assemble a table from its cells: CSV, Markdown and LaTeX."""
    from prism.stages.tables import build_table

    build_table(table, cells, tests, scale, out_csv, out_md, out_tex)


def benchmark_summary(
    folder: Annotated[Path, typer.Option(help="Folder of Snakemake's benchmark files.")],
    out: Annotated[Path, typer.Option(parser=output_file)],
) -> None:
    """Sum up seconds and memory by rule."""
    from prism.stages.summary import summarise_benchmarks

    summarise_benchmarks(folder, out)
