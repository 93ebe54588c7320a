"""Evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.options import Machine
from prism.cli.outputs import output_file


def evaluate(
    model: Annotated[Path, typer.Option(help="Folder of the model.")],
    games: Annotated[Path, typer.Option(help="Data folder of the benchmark.")],
    panel: Annotated[Path, typer.Option(help="Panel of tasks (JSON).")],
    out: Annotated[Path, typer.Option(parser=output_file, help="One record an episode (JSON).")],
    recipe: Annotated[str, typer.Option(help="Settings of the evaluation, as JSON.")],
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")],
    machine: Machine = "{}",
) -> None:
    """Play every task of a panel once."""
    from prism.core.recipes import build_recipe
    from prism.stages.evaluate import EvaluationRecipe
    from prism.stages.evaluate import evaluate as run

    run(model, games, panel, out, build_recipe(EvaluationRecipe, recipe, "--recipe", machine), seed)
