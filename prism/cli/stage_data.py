"""What rules call to make data and models: games, catalogs, trajectories, panels."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prism.cli.options import Manifest, OutFile, OutFolder, Workers
from prism.cli.outputs import output_file
from prism.core.errors import BadInput
from prism.core.recipes import build_recipe

CATALOG = Path(__file__).resolve().parents[2] / "resources" / "downloads.yaml"
GamesDir = Annotated[Path, typer.Option("--games", help="Folder made by `prism stage games`.")]
StoreDir = Annotated[Path, typer.Option("--store", help="Catalog compiled by `prism stage webshop-store`.")]


class Source(StrEnum):
    """Where games come from."""

    generated = "generated"
    dataset = "dataset"


class AlfworldSplit(StrEnum):
    """Splits of ALFWorld."""

    train = "train"
    seen = "seen"
    unseen = "unseen"


class WebshopSplit(StrEnum):
    """Parts of WebShop's goal list."""

    train = "train"
    dev = "dev"
    test = "test"


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


def games(
    out: OutFolder,
    recipe: Annotated[str, typer.Option(help="JSON: train, seen, unseen, seed, size (generated games only).")] = "",
    source: Annotated[Source, typer.Option(help="Generate games, or index the real data set.")] = Source.generated,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="The real data set: what ALFWORLD_DATA names.")
    ] = None,
) -> None:
    """Make a folder of ALFWorld games with a manifest."""
    from prism.stages.games import GamesRecipe, generate_games, index_dataset

    if source is Source.generated:
        generate_games(out, build_recipe(GamesRecipe, recipe, "--recipe"))
    elif data_dir is None:
        raise BadInput("--data-dir", "is missing", "point it to what ALFWORLD_DATA names")
    else:
        index_dataset(data_dir, out)


def trajectories(
    games: GamesDir,
    out: OutFile,
    manifest: Manifest,
    recipe: Annotated[str, typer.Option(help="JSON: max_steps, noise, seed, max_games.")],
    workers: Workers = 1,
) -> None:
    """Let the experts play the training games; write the episodes that were won."""
    from prism.stages.trajectories import TrajectoriesRecipe, collect_trajectories

    collect_trajectories(games, out, manifest, build_recipe(TrajectoriesRecipe, recipe, "--recipe"), workers)


def import_trajectories(
    source: Annotated[Path, typer.Argument(help="A corpus of your own, one trajectory a line.")],
    out: OutFile,
    manifest: Manifest,
) -> None:
    """Check a corpus of your own and take it over."""
    from prism.stages.trajectories import import_trajectories as run

    run(source, out, manifest)


def random_transcripts(
    games: GamesDir,
    out: OutFile,
    recipe: Annotated[str, typer.Option(help="JSON: games, episodes, max_steps, seed.")],
    workers: Workers = 1,
) -> None:
    """Play training games with random admissible actions, for pre-training the tiny backbones."""
    from prism.stages.trajectories import RandomTranscriptsRecipe, collect_random_transcripts

    collect_random_transcripts(games, out, build_recipe(RandomTranscriptsRecipe, recipe, "--recipe"), workers)


def eto_trajectories(
    benchmark: Annotated[str, typer.Option(help="alfworld or webshop.")],
    source: Annotated[Path, typer.Option(help="alfworld_sft.json or webshop_sft.json of ETO.")],
    games: Annotated[Path, typer.Option(help="Data folder of the benchmark.")],
    out: OutFile,
    manifest: Manifest,
    recipe: Annotated[str, typer.Option(help="Settings as JSON: max_steps; WebShop: goals, split.")],
    workers: Workers = 1,
) -> None:
    """Play ETO's expert conversations again in today's environment and write them as trajectories."""
    from prism.stages.eto import EtoRecipe, replay_conversations

    settings = build_recipe(EtoRecipe, recipe, "--recipe")
    replay_conversations(benchmark, source, games, out, manifest, settings, workers)


def panel(
    games: GamesDir,
    split: Annotated[AlfworldSplit, typer.Option(help="Which split the panel is of.")],
    out: OutFile,
    recipe: Annotated[str, typer.Option(help="JSON: size (0: all), seed.")] = "{}",
    trajectories: Annotated[
        Path | None, typer.Option(help="The corpus; the train panel lists the tasks that have a trajectory.")
    ] = None,
) -> None:
    """Write a fixed panel of tasks."""
    from prism.stages.panels import PanelRecipe, make_panel

    make_panel(games, split.value, out, build_recipe(PanelRecipe, recipe, "--recipe"), trajectories)


def prompt_lengths(
    model: Annotated[Path, typer.Option(help="Folder of the backbone, for its tokenizer.")],
    trajectories: Annotated[Path, typer.Option(help="Corpus (JSONL).")],
    out: OutFile,
    recipe: Annotated[str, typer.Option(help="The prompt's format as JSON: style, history, context_length.")],
) -> None:
    """Count the prompts of a corpus that are longer than RL and evaluation allow."""
    from prism.core.prompts import PromptFormat
    from prism.stages.prompt_lengths import count_prompts

    count_prompts(model, trajectories, out, build_recipe(PromptFormat, recipe, "--recipe"))


def webshop_catalog(
    out: OutFolder, recipe: Annotated[str, typer.Option(help="JSON: products, seed, instructions, description_words.")]
) -> None:
    """Generate a catalog in the original file formats."""
    from prism.environments.webshop.generator import CatalogRecipe
    from prism.stages.webshop_catalog import make_catalog

    make_catalog(out, build_recipe(CatalogRecipe, recipe, "--recipe"))


def webshop_store(
    catalog: Annotated[Path, typer.Option(help="Folder with the three catalog files, original or generated.")],
    out: OutFolder,
    recipe: Annotated[str, typer.Option(help="JSON: seed, goals, rows, tagged_titles.")],
) -> None:
    """Compile a catalog: products, prices, goals and search index on disk."""
    from prism.stages.webshop_catalog import StoreRecipe, compile_catalog

    compile_catalog(catalog, out, build_recipe(StoreRecipe, recipe, "--recipe"))


def webshop_trajectories(
    store: StoreDir,
    out: OutFile,
    manifest: Manifest,
    recipe: Annotated[str, typer.Option(help="JSON: goals, max_steps, seed, max_goals, split {test, dev}.")],
) -> None:
    """Let the oracle shopper play the training goals; write the episodes with full score."""
    from prism.stages.webshop_trajectories import WebshopTrajectoriesRecipe, collect_trajectories

    collect_trajectories(store, out, manifest, build_recipe(WebshopTrajectoriesRecipe, recipe, "--recipe"))


def webshop_random_transcripts(
    store: StoreDir,
    out: OutFile,
    recipe: Annotated[str, typer.Option(help="JSON: goals, tasks, episodes, max_steps, seed, split {test, dev}.")],
) -> None:
    """Play training goals with random actions, for pre-training the tiny backbones."""
    from prism.stages.webshop_trajectories import WebshopTranscriptsRecipe, collect_random_transcripts

    collect_random_transcripts(store, out, build_recipe(WebshopTranscriptsRecipe, recipe, "--recipe"))


def webshop_panel(
    store: StoreDir,
    split: Annotated[WebshopSplit, typer.Option(help="Which part of the goal list the panel is of.")],
    out: OutFile,
    recipe: Annotated[str, typer.Option(help="JSON: goals, size (0: all), seed, split {test, dev}.")],
    trajectories: Annotated[
        Path | None, typer.Option(help="The corpus; the train panel lists the goals that have a trajectory.")
    ] = None,
) -> None:
    """Write a fixed panel of goals."""
    from prism.stages.webshop_trajectories import WebshopPanelRecipe, make_panel

    make_panel(store, split.value, out, build_recipe(WebshopPanelRecipe, recipe, "--recipe"), trajectories)


def webshop_conformance(
    catalog: Annotated[Path, typer.Option(help="Folder with the catalog that the cases were recorded on.")],
    oracle: Annotated[Path, typer.Option(help="File of recorded cases.")],
    seed: Annotated[int, typer.Option(help="What the recorder seeded the random generator with.")] = 11,
) -> None:
    """Print agreed / total for each kind of case and the first disagreement; exit code 1 if there is any."""
    from prism.environments.webshop.conformance import count_agreement

    tallies = count_agreement(catalog, oracle, seed)
    for kind, tally in tallies.items():
        typer.echo(f"{kind}: {tally.agreed} / {tally.total}")
    first = next((tally.first for tally in tallies.values() if tally.first), None)
    if first is not None:
        typer.echo(f"first disagreement: {first}")
        raise typer.Exit(1)
