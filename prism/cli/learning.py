"""Commands that show whether training helped: checkpoints on a held-out panel, the table and the curve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.options import Machine
from prism.cli.outputs import output_file, output_folder

Scale = Annotated[str, typer.Option(help="Scale of the run; results say what it means.")]
Evaluations = Annotated[list[Path], typer.Argument(help="Evaluations: {method}/seed{seed}/{panel}.json.")]


def learning_curve(
    run: Annotated[Path, typer.Option(help="Folder of the RL run.")],
    work: Annotated[Path, typer.Option(help="Work folder of the RL run, with its checkpoints.")],
    games: Annotated[Path, typer.Option(help="Data folder of the benchmark.")],
    panel: Annotated[Path, typer.Option(help="Panel of tasks (JSON).")],
    recipe: Annotated[str, typer.Option(help="Settings of the evaluation, as JSON.")],
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")],
    out: Annotated[Path, typer.Option(parser=output_folder, help="Folder of one evaluation a checkpoint.")],
    machine: Machine = "{}",
) -> None:
    """Evaluate every checkpoint that an RL run kept."""
    from prism.core.recipes import build_recipe
    from prism.stages.evaluate import EvaluationRecipe
    from prism.stages.learning import evaluate_checkpoints

    evaluate_checkpoints(
        run, work, games, panel, out, build_recipe(EvaluationRecipe, recipe, "--recipe", machine), seed
    )


def learning_table(
    scale: Scale,
    out: Annotated[Path, typer.Option(parser=output_file, help="Rates, intervals and paired tests (CSV).")],
    evaluations: Evaluations,
) -> None:
    """Compare base, SFT and SFT-then-RL on the same tasks."""
    from prism.stages.learning import write_learning_table

    write_learning_table(evaluations, scale, out)


def figure_learning(
    run: Annotated[Path, typer.Option(help="Folder of the RL run.")],
    curve: Annotated[list[Path], typer.Option(help="Folder of `learning-curve`, one a panel.")],
    title: Annotated[str, typer.Option(help="Benchmark and backbone.")],
    scale: Scale,
    svg: Annotated[Path, typer.Option(parser=output_file, help="Figure as svg.")],
    png: Annotated[Path, typer.Option(parser=output_file, help="Figure as png.")],
    evaluations: Evaluations,
) -> None:
    """Draw an RL run: its rollouts and its checkpoints on held-out panels."""
    from prism.stages.learning_figure import draw_learning

    draw_learning(run, curve, evaluations, title, scale, svg, png)
