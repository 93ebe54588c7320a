"""What rules call to make results: cells, tables, figures, comparisons, reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.options import Scale
from prism.cli.outputs import output_file, output_folder
from prism.core.errors import BadInput
from prism.core.recipes import build_recipe

Svg = Annotated[Path, typer.Option(parser=output_file, help="Figure as svg.")]
Png = Annotated[Path, typer.Option(parser=output_file, help="Figure as png.")]
Names = Annotated[str, typer.Option(help="What to call them in the figure, one a file, separated by commas.")]
Evaluations = Annotated[Path, typer.Option(help="Folder of evaluations: {backbone}/{method}/seed{seed}/{panel}.json.")]
Panel = Annotated[str, typer.Option(help="Name of the panel.")]
Seeds = Annotated[str, typer.Option(help="Seeds, separated by commas.")]
Methods = Annotated[str, typer.Option(help="Methods, separated by commas.")]
Results = Annotated[Path, typer.Option(help="Folder of a finished run.")]


def cells(
    row: Annotated[str, typer.Option(help="Table, row, method and scale, as JSON (CellRecipe).")],
    paper: Annotated[Path, typer.Option(help="The paper's values of this table.")],
    out: Annotated[Path, typer.Option(help="Folder of the row's cells.")],
    evaluations: Annotated[list[Path], typer.Argument(help="One evaluation a seed.")],
) -> None:
    """Write the cells of one row of Table 1, 2 or 4 from its evaluations."""
    from prism.stages.cells import CellRecipe, write_evaluation_cells

    write_evaluation_cells(build_recipe(CellRecipe, row, "--row"), evaluations, paper, out)


def timing_cells(
    row: Annotated[str, typer.Option(help="Row, method and scale, as JSON (CellRecipe).")],
    files: Annotated[str, typer.Option(help="Benchmark files by phase and seed, as JSON (TimingFiles).")],
    paper: Annotated[Path, typer.Option(help="The paper's values of Table 3.")],
    out: Annotated[Path, typer.Option(help="Folder of the row's cells.")],
) -> None:
    """Write the cells of one row of Table 3 from Snakemake's run times."""
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
    from prism.stages.tables.comparisons import write_tests

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


def sensitivity(
    scores: Annotated[list[Path], typer.Argument(help="score tables named {benchmark}/{backbone}.csv")],
    scale: Scale,
    out: Annotated[Path, typer.Option(parser=output_file, help="CSV file to write")],
) -> None:
    """Appendix G: raw norms against norms divided by the square root of the parameter count."""
    from prism.stages.sensitivity import compute_sensitivity

    compute_sensitivity(scores, scale, out)


def learning_table(
    scale: Scale,
    out: Annotated[Path, typer.Option(parser=output_file, help="Rates, intervals and paired tests (CSV).")],
    evaluations: Annotated[list[Path], typer.Argument(help="Evaluations: {method}/seed{seed}/{panel}.json.")],
) -> None:
    """Compare base, SFT and SFT-then-RL on the same tasks."""
    from prism.stages.learning import write_learning_table

    write_learning_table(evaluations, scale, out)


def compare(
    paper: Annotated[Path, typer.Option(help="Folder of the paper's published numbers.")],
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
    from prism.stages.comparison import ComparisonRecipe, compare_with_paper

    settings = build_recipe(ComparisonRecipe, recipe, "--recipe")
    compare_with_paper(paper, evaluations or [], settings, out, times, norms or [], sensitivity)


def figure_case_study(
    scores: Annotated[Path, typer.Option()],
    trajectories: Annotated[Path, typer.Option()],
    scale: Scale,
    svg: Svg,
    png: Png,
    norms: Annotated[list[Path], typer.Argument(help="Gradient norms, all shards.")],
) -> None:
    """Draw Figure 1: the most diffuse and the most concentrated trajectory."""
    from prism.stages.figures.case_study import draw_case_study

    draw_case_study(norms, scores, trajectories, scale, svg, png)


def figure_inverse_ablation(
    evaluations: Evaluations,
    panel: Panel,
    seeds: Seeds,
    backbones: Annotated[str, typer.Option(help="Backbones, a row each, separated by commas.")],
    methods: Methods,
    scale: Scale,
    svg: Svg,
    png: Png,
) -> None:
    """Draw Figure 3: PRISM's routing beside its inverse, and random."""
    from prism.stages.figures.evaluations import EvaluationFolder
    from prism.stages.figures.inverse_ablation import draw_inverse_ablation

    folder = EvaluationFolder(evaluations, panel, _whole_numbers(seeds, "--seeds"))
    draw_inverse_ablation(folder, backbones.split(","), methods.split(","), scale, svg, png)


def figure_ratio_sweep(
    evaluations: Evaluations,
    panel: Panel,
    seeds: Seeds,
    backbone: Annotated[str, typer.Option()],
    methods: Methods,
    shares: Annotated[str, typer.Option(help="Percent of the corpus that RL sees, one a method.")],
    scale: Scale,
    svg: Svg,
    png: Png,
) -> None:
    """Draw Figure 4: score and success rate over the share of the corpus that goes to RL."""
    from prism.stages.figures.evaluations import EvaluationFolder
    from prism.stages.figures.ratio_sweep import draw_ratio_sweep

    folder = EvaluationFolder(evaluations, panel, _whole_numbers(seeds, "--seeds"))
    draw_ratio_sweep(folder, backbone, methods.split(","), _whole_numbers(shares, "--shares"), scale, svg, png)


def figure_consensus(
    title: Annotated[str, typer.Option(help="Benchmark and backbone.")],
    scale: Scale,
    svg: Svg,
    png: Png,
    norms: Annotated[list[Path], typer.Argument(help="Gradient norms, all shards.")],
) -> None:
    """Draw Figure 5: the overlap of the three metrics' high-conflict halves, beside what noise gives."""
    from prism.stages.figures.consensus import draw_consensus

    draw_consensus(norms, title, scale, svg, png)


def figure_score_distributions(
    names: Names,
    scale: Scale,
    svg: Svg,
    png: Png,
    scores: Annotated[list[Path], typer.Argument(help="Score tables.")],
) -> None:
    """Draw histograms of the scores with the median."""
    from prism.stages.figures.score_distributions import draw_score_distributions

    draw_score_distributions(scores, names.split(","), scale, svg, png)


def figure_training_curves(
    names: Names,
    scale: Scale,
    svg: Svg,
    png: Png,
    runs: Annotated[list[Path], typer.Argument(help="Folders of RL runs; runs of one name are seeds of one method.")],
) -> None:
    """Draw success, reward, length, invalid actions, KL and entropy over the steps of RL runs."""
    from prism.stages.figures.training_curves import draw_training_curves

    draw_training_curves(runs, names.split(","), scale, svg, png)


def figure_forest(
    scale: Scale,
    svg: Svg,
    png: Png,
    tables: Annotated[list[Path], typer.Argument(help="Tables of results (CSV).")],
) -> None:
    """Draw all methods of tables with their intervals."""
    from prism.stages.figures.forest import draw_forest

    draw_forest(tables, scale, svg, png)


def figure_schedule(
    folder: Annotated[Path, typer.Option(help="Folder of Snakemake's benchmark files.")],
    scale: Scale,
    svg: Svg,
    png: Png,
) -> None:
    """Draw when each job of the run ran."""
    from prism.stages.figures.schedule import draw_schedule

    draw_schedule(folder, scale, svg, png)


def figure_learning(
    run: Annotated[Path, typer.Option(help="Folder of the RL run.")],
    curve: Annotated[list[Path], typer.Option(help="Folder of `learning-curve`, one a panel.")],
    title: Annotated[str, typer.Option(help="Benchmark and backbone.")],
    scale: Scale,
    svg: Svg,
    png: Png,
    evaluations: Annotated[list[Path], typer.Argument(help="Evaluations: {method}/seed{seed}/{panel}.json.")],
) -> None:
    """Draw an RL run: its rollouts and its checkpoints on held-out panels."""
    from prism.stages.learning_figure import draw_learning

    draw_learning(run, curve, evaluations, title, scale, svg, png)


def index_page(
    results: Results,
    tables: Annotated[str, typer.Option(help="Names, separated by commas.")],
    figures: Annotated[str, typer.Option(help="Names, separated by commas.")],
    captions: Annotated[Path, typer.Option(help="Folder of captions: {table or figure}.rst.")],
    scale: Scale,
    seeds: Seeds,
    out: Annotated[Path, typer.Option(parser=output_file, help="The page (HTML).")],
) -> None:
    """Write the page that a person opens first: tables, figures, cost and versions of a run."""
    from prism.stages.index_page import build_index_page

    build_index_page(
        results, tables.split(","), figures.split(","), captions, scale, _whole_numbers(seeds, "--seeds"), out
    )


def crate(
    results: Results,
    workflow: Annotated[Path, typer.Option(help="The repository that made the run.")],
    config: Annotated[str, typer.Option(help="Scale, seeds and targets of the run, as JSON.")],
    snapshot: Annotated[
        Path, typer.Option(parser=output_folder, help="Folder in the results for the rules and the config of the run.")
    ],
    out: Annotated[Path, typer.Option(parser=output_file, help="ro-crate-metadata.json in the results.")],
) -> None:
    """Describe a finished run as a Workflow Run RO-Crate."""
    from prism.stages.crate import build_crate

    build_crate(results, workflow, config, snapshot, out)


def pack_records(
    results: Results,
    out: Annotated[Path, typer.Option(help="Folder of the records.")],
) -> None:
    """Copy from a finished run what its tables and figures can be rebuilt from without training."""
    from prism.tools.records import pack_records as pack

    pack(results, out)


def benchmark_summary(
    folder: Annotated[Path, typer.Option(help="Folder of Snakemake's benchmark files.")],
    out: Annotated[Path, typer.Option(parser=output_file)],
) -> None:
    """Sum up seconds and memory by rule."""
    from prism.stages.summary import summarise_benchmarks

    summarise_benchmarks(folder, out)


def _whole_numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise BadInput(option, f"cannot read {text!r}", "give whole numbers, separated by commas") from error
