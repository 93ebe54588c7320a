"""What rules call to make results: cells, tables, figures, comparisons, reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from prism.cli.options import Scale
from prism.cli.outputs import output_file, output_folder
from prism.core.errors import BadInput
from prism.core.figures import FIGURES, FigureSettings
from prism.core.recipes import build_recipe
from prism.core.study_tables import STUDY_OPTIONAL, STUDY_TABLES, StudySettings

Files = Annotated[list[Path] | None, typer.Option(help="Once a file, for the figures that take them.")]
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
    from prism.stages.tables import TableFiles, build_table

    build_table(table, cells, tests, scale, TableFiles(out_csv, out_md, out_tex))


def sensitivity(
    scores: Annotated[list[Path], typer.Argument(help="score tables named {benchmark}/{backbone}.csv")],
    scale: Scale,
    out: Annotated[Path, typer.Option(parser=output_file, help="CSV file to write")],
) -> None:
    """Appendix G: raw norms against norms divided by the square root of the parameter count."""
    from prism.stages.sensitivity import compute_sensitivity

    compute_sensitivity(scores, scale, out)


def compare_probes(
    norms: Annotated[list[Path], typer.Argument(help="files of the probe, then those of the later one")],
    scale: Scale,
    recipe: Annotated[str, typer.Option(help="settings of the scores as JSON")],
    out: Annotated[Path, typer.Option(parser=output_file, help="CSV file to write: a score a row")],
) -> None:
    """Two probes of one corpus before and after a training: how far they agree, and who changes sides by Gini.

    Who does stands beside --out, in a file of its name with _trajectories.
    """
    from prism.stages import compare_probes as probes
    from prism.stages.scores import ScoresRecipe
    from prism.stages.tables import scale_note

    trajectories = output_file(str(out.with_name(f"{out.stem}_trajectories.csv")))
    settings, note = build_recipe(ScoresRecipe, recipe, "--recipe"), f"{scale_note(scale)}."
    found = probes.compare_probes(norms, settings.epsilon)
    probes.write_sides(found, "gini", trajectories, note)
    probes.write_comparison(found, out, f"{note} Trajectory by trajectory: {trajectories.name}")


def consensus(
    norms: Annotated[list[Path], typer.Argument(help="all parquet files of one probe")],
    out: Annotated[Path, typer.Option(parser=output_file, help="JSON file to write")],
    recipe: Annotated[str, typer.Option(help="settings of the scores as JSON")] = "{}",
) -> None:
    """How far Gini, kurtosis and CV agree on the half that goes to RL, and on permuted norms."""
    from prism.stages.consensus import compute_consensus
    from prism.stages.scores import ScoresRecipe

    compute_consensus(norms, build_recipe(ScoresRecipe, recipe, "--recipe"), out)


def study_table(
    name: Annotated[str, typer.Argument(help=f"Which one: {', '.join(STUDY_TABLES)}.")],
    scale: Scale,
    out_csv: Annotated[Path, typer.Option(parser=output_file)],
    out_md: Annotated[Path, typer.Option(parser=output_file)],
    settings: Annotated[str, typer.Option(help="What the probe's variants change, as JSON (StudySettings).")] = "{}",
    scores: Files = None,
    norms: Files = None,
    variants: Files = None,
    consensus: Files = None,
    facts: Files = None,
    pass_rates: Files = None,
    memory: Files = None,
    labels: Files = None,
) -> None:
    """Make a table about the scores from files of the kinds that it takes (prism/core/study_tables.py)."""
    from prism.stages.score_study.frames import write_study

    if name not in STUDY_TABLES:
        raise BadInput(name, "is no table about the scores", f"use one of {', '.join(STUDY_TABLES)}")
    known = STUDY_TABLES[name]
    given = {
        **{"scores": scores, "norms": norms, "variants": variants, "consensus": consensus},
        **{"facts": facts, "pass_rates": pass_rates, "memory": memory},
        "labels": labels,
    }
    _check_kinds(name, given, known.inputs, optional=STUDY_OPTIONAL)
    arguments: dict[str, Any] = {kind: given[kind] or [] for kind in known.inputs}
    if "variants" in known.inputs:
        arguments |= vars(build_recipe(StudySettings, settings, "--settings"))
    study = import_module(f"prism.stages.score_study.{known.module}").study
    write_study(study(**arguments), known.title, scale, out_csv, out_md)


def decision(
    evaluations: Annotated[list[Path], typer.Argument(help="Of all methods that are asked about, on all panels.")],
    recipe: Annotated[str, typer.Option(help="Seeds, margin, questions and checks, as JSON (DecisionRecipe).")],
    scale: Scale,
    out_csv: Annotated[Path, typer.Option(parser=output_file)],
    out_md: Annotated[Path, typer.Option(parser=output_file)],
) -> None:
    """Make the table of what a run decides: the questions and checks of its protocol."""
    from prism.core.decisions import DecisionRecipe
    from prism.stages.decision import write_decision

    write_decision(build_recipe(DecisionRecipe, recipe, "--recipe"), evaluations, scale, out_csv, out_md)


def findings(
    results: Results,
    paper: Annotated[Path, typer.Option(help="Folder of the paper's claims.")],
    model: Annotated[str, typer.Option(help="The backbone that the page is about.")],
    scale: Scale,
    out: Annotated[Path, typer.Option(parser=output_file, help="The page (Markdown).")],
    world: Annotated[Path | None, typer.Option(help="Run of the scale that decides, for the second half.")] = None,
    control: Annotated[Path | None, typer.Option(help="Its positive control; goes with --world.")] = None,
) -> None:
    """Write the page that says what the score measures on the largest model of a run, and what routing does."""
    from prism.stages.findings import FindingsRecipe, write_findings
    from prism.stages.world_findings import World

    if (world is None) != (control is None):
        raise BadInput("--world and --control", "one is given without the other", "give both, or neither")
    runs = World(world, control, "laptop") if world and control else None
    write_findings(results, paper, FindingsRecipe(scale, model), out, runs)


def claims(
    paper: Annotated[Path, typer.Option(help="Folder of the paper's published numbers.")],
    recipe: Annotated[str, typer.Option(help="JSON: scale, targets, backbones of each target.")],
    out: Annotated[Path, typer.Option(help="Folder that gets comparison.csv, comparison.md and claims.json.")],
    evaluations: Annotated[list[Path] | None, typer.Argument(help="All evaluations of the run.")] = None,
    tables: Annotated[
        list[Path] | None, typer.Option(help="Tables of the run that claims are about, {name}.csv; repeatable.")
    ] = None,
    norms: Annotated[
        list[Path] | None, typer.Option(help="Gradient norms {benchmark}/{backbone}/{shard}.parquet; repeatable.")
    ] = None,
    consensus: Annotated[
        list[Path] | None, typer.Option(help="Consensus of the metrics {benchmark}/{backbone}.json; repeatable.")
    ] = None,
) -> None:
    """Set each claim of the paper beside this run: estimate, interval, verdict."""
    from prism.stages.comparison import ComparisonRecipe, RunFiles, compare_with_paper

    settings = build_recipe(ComparisonRecipe, recipe, "--recipe")
    files = RunFiles(evaluations or [], norms or [], consensus or [], tables or [])
    compare_with_paper(paper, files, settings, out)


def figure(
    name: Annotated[str, typer.Argument(help=f"Which one: {', '.join(FIGURES)}.")],
    scale: Scale,
    svg: Annotated[Path, typer.Option(parser=output_file, help="Figure as svg.")],
    png: Annotated[Path, typer.Option(parser=output_file, help="Figure as png.")],
    settings: Annotated[str, typer.Option(help="What it shows of its files, as JSON.")] = "{}",
    norms: Files = None,
    scores: Files = None,
    consensus: Files = None,
    trajectories: Files = None,
    evaluations: Files = None,
    runs: Files = None,
    tables: Files = None,
    times: Files = None,
) -> None:
    """Draw a figure from files of the kinds that it takes (prism/core/figures.py)."""
    from prism.stages.figures.style import FigureFiles

    if name not in FIGURES:
        raise BadInput(name, "is no figure", f"use one of {', '.join(FIGURES)}")
    known = FIGURES[name]
    given = {
        **{"norms": norms, "scores": scores, "consensus": consensus, "trajectories": trajectories},
        **{"evaluations": evaluations, "runs": runs, "tables": tables, "times": times},
    }
    told = vars(build_recipe(FigureSettings, settings, "--settings"))
    _check_kinds(name, given, known.inputs)
    for key in known.settings:
        if not told[key]:
            raise BadInput("--settings", f"key {key!r} is missing", f"{name} needs {', '.join(known.settings)}")
    draw = import_module(f"prism.stages.figures.{known.module}").draw
    arguments = {kind: given[kind] for kind in known.inputs} | {key: told[key] for key in known.settings}
    draw(**arguments, out=FigureFiles(svg, png, scale))


def index_page(
    results: Results,
    shown: Annotated[str, typer.Option(help="JSON: names of tables and figures, scale, seeds.")],
    captions: Annotated[Path, typer.Option(help="Folder of captions: {table or figure}.rst.")],
    out: Annotated[Path, typer.Option(parser=output_file, help="The page (HTML).")],
) -> None:
    """Write the page that a person opens first: tables, figures, cost and versions of a run."""
    from prism.stages.index_page import Shown, build_index_page

    build_index_page(results, build_recipe(Shown, shown, "--shown"), captions, out)


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
    config: Annotated[str, typer.Option(help="The run's whole config, as JSON: lets others go on from here.")] = "",
) -> None:
    """Copy from a run, finished or not, what its tables and figures can be rebuilt from without training."""
    from prism.tools.records import pack_records as pack

    pack(results, out, json.loads(config) if config else None)


def take_evaluation(
    record: Annotated[Path, typer.Option(help="A packed evaluation among the records of an earlier run.")],
    panel: Annotated[Path, typer.Option(help="This run's panel.")],
    out: Annotated[Path, typer.Option(parser=output_file)],
) -> None:
    """Take an evaluation from the records of an earlier run, on the same panel."""
    from prism.stages.recorded_evaluation import take_evaluation as take

    take(record, panel, out)


def benchmark_summary(
    folder: Annotated[Path, typer.Option(help="Folder of Snakemake's benchmark files.")],
    out: Annotated[Path, typer.Option(parser=output_file)],
) -> None:
    """Sum up seconds and memory by rule."""
    from prism.stages.summary import summarise_benchmarks

    summarise_benchmarks(folder, out)


def _check_kinds(
    name: str, given: Mapping[str, list[Path] | None], wanted: Sequence[str], optional: Sequence[str] = ()
) -> None:
    """Refuse files of a kind that a table or figure does not take, and the lack of those that it does."""
    for kind, files in given.items():
        if (files and kind not in wanted) or (not files and kind in wanted and kind not in optional):
            problem = "does not belong here" if files else "is missing"
            raise BadInput(f"--{kind.replace('_', '-')}", problem, f"{name} is made from {', '.join(wanted)}")
