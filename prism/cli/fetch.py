"""Commands that bring data and models from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.outputs import output_file

CATALOG = Path(__file__).resolve().parents[2] / "resources" / "downloads.yaml"


def fetch(
    collection: Annotated[
        str, typer.Argument(help="A collection of resources/downloads.yaml: alfworld, webshop, eto.")
    ],
    folder: Annotated[Path, typer.Option(help="Where the files belong; what is there and matches is kept.")],
    out: Annotated[
        Path, typer.Option(parser=output_file, help="What the folder holds: hashes, origins, licence (JSON).")
    ],
    catalog: Annotated[Path, typer.Option(help="The catalog of collections.")] = CATALOG,
) -> None:
    """Download a collection of files, check it and unpack it."""
    from prism.stages.fetch import fetch_collection

    fetch_collection(collection, catalog, folder, out)


def eto_trajectories(
    benchmark: Annotated[str, typer.Option(help="alfworld or webshop.")],
    source: Annotated[Path, typer.Option(help="alfworld_sft.json or webshop_sft.json of ETO.")],
    games: Annotated[Path, typer.Option(help="Data folder of the benchmark.")],
    out: Annotated[Path, typer.Option(parser=output_file, help="Corpus (JSONL).")],
    manifest: Annotated[
        Path, typer.Option(parser=output_file, help="Counts, dropped conversations and the hash, as JSON.")
    ],
    recipe: Annotated[str, typer.Option(help="Settings as JSON: max_steps; WebShop: goals, split.")],
    workers: Annotated[int, typer.Option(min=1, help="Worker processes (ALFWorld).")] = 1,
) -> None:
    """Play ETO's expert conversations again in today's environment and write them as trajectories."""
    from prism.core.recipes import build_recipe
    from prism.stages.eto import EtoRecipe, replay_conversations

    settings = build_recipe(EtoRecipe, recipe, "--recipe")
    replay_conversations(benchmark, source, games, out, manifest, settings, workers)
