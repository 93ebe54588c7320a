"""Supervised fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.options import Machine
from prism.cli.outputs import output_folder


def sft(
    model: Annotated[Path, typer.Option(help="Folder of the model to start from.")],
    trajectories: Annotated[Path, typer.Option(help="Corpus (JSONL).")],
    out: Annotated[
        Path, typer.Option(parser=output_folder, help="Folder of the trained model; appears when training is done.")
    ],
    work: Annotated[Path, typer.Option(help="Folder for checkpoints; a killed run goes on from there.")],
    recipe: Annotated[str, typer.Option(help="Settings of the training, as JSON.")],
    seed: Annotated[int, typer.Option(help="Order of the rows.")],
    split: Annotated[Path | None, typer.Option(help="Routing (CSV: id, score, regime); none: whole corpus.")] = None,
    regime: Annotated[str, typer.Option(help="Part of the split to train on: sft or rl.")] = "sft",
    machine: Machine = "{}",
) -> None:
    """Fine-tune a model on a routed subset with LLaMA-Factory."""
    from prism.core.recipes import build_recipe
    from prism.stages.sft import SftRecipe, train_sft

    settings = build_recipe(SftRecipe, recipe, "--recipe", machine)
    train_sft(model, trajectories, split, regime, out, work, settings, seed)
