"""What rules call to make data and models: games, catalogs, trajectories, panels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prism.cli.options import Manifest, OutFile, OutFolder, Workers
from prism.cli.outputs import output_file
from prism.core.errors import BadInput
from prism.core.recipes import build_recipe

CATALOG = Path(__file__).resolve().parents[2] / "resources" / "downloads.yaml"
BenchmarkName = Annotated[str, typer.Argument(metavar="BENCHMARK", help="alfworld or webshop.")]
GamesDir = Annotated[Path, typer.Option("--games", help="Folder made by `prism stage games`.")]


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


def _recipe(benchmark: str, command: str, text: str) -> Any:
    """The recipe of a data stage: each benchmark has its own."""
    from prism.environments import load_data

    kinds = load_data(benchmark, "BENCHMARK").recipes
    if command not in kinds:
        raise BadInput(f"prism stage {command}", f"{benchmark} has none", f"it has {', '.join(kinds)}")
    return build_recipe(kinds[command], text, "--recipe")


def catalog(
    benchmark: BenchmarkName,
    out: OutFolder,
    recipe: Annotated[str, typer.Option(help="JSON; WebShop: products, seed, instructions, description_words.")],
) -> None:
    """Generate the files that a benchmark's games are made from, in the format of the released ones."""
    from prism.stages.games import make_catalog

    make_catalog(benchmark, out, _recipe(benchmark, "catalog", recipe))


def games(
    benchmark: BenchmarkName,
    out: OutFolder,
    recipe: Annotated[
        str,
        typer.Option(
            help="JSON; ALFWorld: train, seen, unseen, seed, size; WebShop: seed, goals, rows, tagged_titles."
        ),
    ] = "",
    files: Annotated[
        Path | None, typer.Option(help="Folder of released files, or of a catalog; without it, games are generated.")
    ] = None,
) -> None:
    """Make the data folder of a benchmark: ALFWorld's games, WebShop's compiled catalog."""
    from prism.stages.games import make_games

    make_games(benchmark, files, out, _recipe(benchmark, "games", recipe) if recipe else None)


def trajectories(
    benchmark: BenchmarkName,
    games: GamesDir,
    out: OutFile,
    manifest: Manifest,
    recipe: Annotated[
        str,
        typer.Option(help="JSON: max_steps, seed; ALFWorld: noise, max_games; WebShop: goals, max_goals, split."),
    ],
    workers: Workers = 1,
) -> None:
    """Let a benchmark's expert play training tasks; write the episodes that succeeded."""
    from prism.stages.trajectories import CorpusFiles, collect_trajectories

    settings = _recipe(benchmark, "trajectories", recipe)
    collect_trajectories(benchmark, games, CorpusFiles(out, manifest), settings, workers)


def import_trajectories(
    source: Annotated[Path, typer.Argument(help="A corpus of your own, one trajectory a line.")],
    out: OutFile,
    manifest: Manifest,
) -> None:
    """Check a corpus of your own and take it over."""
    from prism.stages.trajectories import CorpusFiles
    from prism.stages.trajectories import import_trajectories as run

    run(source, CorpusFiles(out, manifest))


def eto_trajectories(
    benchmark: BenchmarkName,
    source: Annotated[Path, typer.Option(help="alfworld_sft.json or webshop_sft.json of ETO.")],
    games: GamesDir,
    out: OutFile,
    manifest: Manifest,
    recipe: Annotated[str, typer.Option(help="JSON: max_steps; WebShop: goals, split, min_score.")],
    workers: Workers = 1,
) -> None:
    """Play ETO's expert conversations again in today's environment and write them as trajectories."""
    from prism.stages.eto import play_conversations
    from prism.stages.trajectories import CorpusFiles

    settings = _recipe(benchmark, "eto-trajectories", recipe)
    play_conversations(benchmark, source, games, CorpusFiles(out, manifest), settings, workers)


def transcripts(
    benchmark: BenchmarkName,
    games: GamesDir,
    out: OutFile,
    recipe: Annotated[
        str,
        typer.Option(
            help="JSON: player, noise, task_types, episodes, max_steps, seed; ALFWorld: games; WebShop: goals, tasks."
        ),
    ],
    workers: Workers = 1,
) -> None:
    """Play training tasks at random, or with an expert that errs, for pre-training the tiny backbones."""
    from prism.stages.trajectories import collect_transcripts

    collect_transcripts(benchmark, games, out, _recipe(benchmark, "transcripts", recipe), workers)


def panel(
    benchmark: BenchmarkName,
    games: GamesDir,
    split: Annotated[
        str, typer.Option(help="Which split the panel is of; ALFWorld: train, seen, unseen; WebShop: train, dev, test.")
    ],
    out: OutFile,
    recipe: Annotated[str, typer.Option(help="JSON: size (0: all), seed; WebShop: goals, split.")] = "{}",
    trajectories: Annotated[
        Path | None, typer.Option(help="The corpus; the train panel lists the tasks that have a trajectory.")
    ] = None,
) -> None:
    """Write a fixed panel of tasks."""
    from prism.stages.panels import make_panel

    make_panel(benchmark, games, split, out, _recipe(benchmark, "panel", recipe), trajectories)


def facts(
    trajectories: Annotated[Path, typer.Argument(help="Corpus (JSONL).")],
    out: OutFile,
) -> None:
    """Count length, repeated actions, searches and error recoveries of every trajectory."""
    from prism.stages.score_study.facts import count_facts

    count_facts(trajectories, out)


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
