"""Commands that draw figures, each as svg and png."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.outputs import output_file
from prism.core.errors import BadInput

Scale = Annotated[str, typer.Option(help="Scale of the run; figures say what it means.")]
Svg = Annotated[Path, typer.Option(parser=output_file, help="Figure as svg.")]
Png = Annotated[Path, typer.Option(parser=output_file, help="Figure as png.")]
Names = Annotated[str, typer.Option(help="What to call them in the figure, one a file, separated by commas.")]
Evaluations = Annotated[Path, typer.Option(help="Folder of evaluations: {backbone}/{method}/seed{seed}/{panel}.json.")]
Panel = Annotated[str, typer.Option(help="Name of the panel.")]
Seeds = Annotated[str, typer.Option(help="Seeds, separated by commas.")]
Methods = Annotated[str, typer.Option(help="Methods, separated by commas.")]


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


def _whole_numbers(text: str, place: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise BadInput(place, f"cannot read {text!r}", "give whole numbers, separated by commas") from error
