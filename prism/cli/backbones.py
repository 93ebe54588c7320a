"""Commands that make backbones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.outputs import output_folder


def tiny_backbone(
    family: Annotated[str, typer.Option(help="Model family: qwen3 or llama3.")],
    transcripts: Annotated[list[Path], typer.Option(help="Random-policy transcripts (JSONL); one option a file.")],
    out: Annotated[Path, typer.Option(parser=output_folder, help="Folder of the backbone.")],
    recipe: Annotated[str, typer.Option(help="Settings of the pre-training, as JSON.")],
) -> None:
    """Pre-train a tiny backbone on random play."""
    from prism.core.recipes import build_recipe
    from prism.stages.tiny_backbone import BackboneRecipe, train_tiny_backbone

    settings = build_recipe(BackboneRecipe, recipe, "--recipe")
    train_tiny_backbone(settings, family, transcripts, out)
