"""Commands for WebShop: catalogs, trajectories, panels, and agreement with the original."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prism.cli.outputs import output_file, output_folder

conformance = typer.Typer(help="Replay recorded cases of an original and count agreement.", no_args_is_help=True)


class Split(StrEnum):
    """Parts of WebShop's goal list."""

    train = "train"
    dev = "dev"
    test = "test"


StoreDir = Annotated[Path, typer.Option("--store", help="Catalog compiled by `prism stage webshop-store`.")]
Out = Annotated[Path, typer.Option("--out", parser=output_file, help="Output; appears whole or not at all.")]
OutFolder = Annotated[Path, typer.Option("--out", parser=output_folder, help="Folder; appears whole or not at all.")]


# a lone command would become the group itself
@conformance.callback()
def _conformance() -> None:
    """Replay recorded cases of an original and count agreement."""


def webshop_catalog(
    out: OutFolder, recipe: Annotated[str, typer.Option(help="JSON: products, seed, instructions, description_words.")]
) -> None:
    """Generate a catalog in the original file formats."""
    from prism.core.recipes import build_recipe
    from prism.environments.webshop.generator import CatalogRecipe
    from prism.stages.webshop_catalog import make_catalog

    make_catalog(out, build_recipe(CatalogRecipe, recipe, "--recipe"))


def webshop_store(
    catalog: Annotated[Path, typer.Option(help="Folder with the three catalog files, original or generated.")],
    out: OutFolder,
    recipe: Annotated[str, typer.Option(help="JSON: seed, goals, rows, tagged_titles.")],
) -> None:
    """Compile a catalog: products, prices, goals and search index on disk."""
    from prism.core.recipes import build_recipe
    from prism.stages.webshop_catalog import StoreRecipe, compile_catalog

    compile_catalog(catalog, out, build_recipe(StoreRecipe, recipe, "--recipe"))


def webshop_trajectories(
    store: StoreDir,
    out: Out,
    manifest: Annotated[
        Path, typer.Option("--manifest", parser=output_file, help="Counts, rejected goals and the hash, as JSON.")
    ],
    recipe: Annotated[str, typer.Option(help="JSON: goals, max_steps, seed, max_goals, split {test, dev}.")],
) -> None:
    """Let the oracle shopper play the training goals; write the episodes with full score."""
    from prism.core.recipes import build_recipe
    from prism.stages.webshop_trajectories import WebshopTrajectoriesRecipe, collect_trajectories

    collect_trajectories(store, out, manifest, build_recipe(WebshopTrajectoriesRecipe, recipe, "--recipe"))


def webshop_random_transcripts(
    store: StoreDir,
    out: Out,
    recipe: Annotated[str, typer.Option(help="JSON: goals, tasks, episodes, max_steps, seed, split {test, dev}.")],
) -> None:
    """Play training goals with random actions, for pre-training the tiny backbones."""
    from prism.core.recipes import build_recipe
    from prism.stages.webshop_trajectories import WebshopTranscriptsRecipe, collect_random_transcripts

    collect_random_transcripts(store, out, build_recipe(WebshopTranscriptsRecipe, recipe, "--recipe"))


def webshop_panel(
    store: StoreDir,
    split: Annotated[Split, typer.Option(help="Which part of the goal list the panel is of.")],
    out: Out,
    recipe: Annotated[str, typer.Option(help="JSON: goals, size (0: all), seed, split {test, dev}.")],
    trajectories: Annotated[
        Path | None, typer.Option(help="The corpus; the train panel lists the goals that have a trajectory.")
    ] = None,
) -> None:
    """Write a fixed panel of goals."""
    from prism.core.recipes import build_recipe
    from prism.stages.webshop_trajectories import WebshopPanelRecipe, make_panel

    make_panel(store, split.value, out, build_recipe(WebshopPanelRecipe, recipe, "--recipe"), trajectories)


@conformance.command(name="webshop")
def webshop_conformance(
    catalog: Annotated[Path, typer.Option(help="Folder with the catalog that the cases were recorded on.")],
    oracle: Annotated[Path, typer.Option(help="File of recorded cases.")],
    seed: Annotated[int, typer.Option(help="What the recorder seeded the random generator with.")] = 11,
) -> None:
    """Print agreed / total for each kind of case and the first disagreement; exit code 1 if there is any."""
    from prism.environments.webshop.conformance import replay

    tallies = replay(catalog, oracle, seed)
    for kind, tally in tallies.items():
        typer.echo(f"{kind}: {tally.agreed} / {tally.total}")
    first = next((tally.first for tally in tallies.values() if tally.first), None)
    if first is not None:
        typer.echo(f"first disagreement: {first}")
        raise typer.Exit(1)
