"""Commands that make data: games, trajectories, panels."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prism.cli.outputs import output_file, output_folder


class Source(StrEnum):
    """Where games come from."""

    generated = "generated"
    dataset = "dataset"


class Split(StrEnum):
    """Splits of ALFWorld."""

    train = "train"
    seen = "seen"
    unseen = "unseen"


Manifest = Annotated[
    Path, typer.Option("--manifest", parser=output_file, help="Counts, dropped games and the hash, as JSON.")
]
GamesDir = Annotated[Path, typer.Option("--games", help="Folder made by `prism stage games`.")]
Out = Annotated[Path, typer.Option("--out", parser=output_file, help="Output; appears whole or not at all.")]
OutFolder = Annotated[Path, typer.Option("--out", parser=output_folder, help="Folder; appears whole or not at all.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Worker processes.")]


def games(
    out: OutFolder,
    recipe: Annotated[str, typer.Option(help="JSON: train, seen, unseen, seed, size (generated games only).")] = "",
    source: Annotated[Source, typer.Option(help="Generate games, or index the real data set.")] = Source.generated,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="The real data set: what ALFWORLD_DATA names.")
    ] = None,
) -> None:
    """Make a folder of ALFWorld games with a manifest."""
    from prism.core.errors import BadInput
    from prism.core.recipes import build_recipe
    from prism.stages.games import GamesRecipe, generate_games, index_dataset

    if source is Source.generated:
        generate_games(out, build_recipe(GamesRecipe, recipe, "--recipe"))
    elif data_dir is None:
        raise BadInput("--data-dir", "is missing", "point it to what ALFWORLD_DATA names")
    else:
        index_dataset(data_dir, out)


def trajectories(
    games: GamesDir,
    out: Out,
    manifest: Manifest,
    recipe: Annotated[str, typer.Option(help="JSON: max_steps, noise, seed, max_games.")],
    workers: Workers = 1,
) -> None:
    """Let the experts play the training games; write the episodes that were won."""
    from prism.core.recipes import build_recipe
    from prism.stages.trajectories import TrajectoriesRecipe, collect_trajectories

    collect_trajectories(games, out, manifest, build_recipe(TrajectoriesRecipe, recipe, "--recipe"), workers)


def import_trajectories(
    source: Annotated[Path, typer.Argument(help="A corpus of your own, one trajectory a line.")],
    out: Out,
    manifest: Manifest,
) -> None:
    """Check a corpus of your own and take it over."""
    from prism.stages.trajectories import import_trajectories as run

    run(source, out, manifest)


def random_transcripts(
    games: GamesDir,
    out: Out,
    recipe: Annotated[str, typer.Option(help="JSON: games, episodes, max_steps, seed.")],
    workers: Workers = 1,
) -> None:
    """Play training games with random admissible actions, for pre-training the tiny backbones."""
    from prism.core.recipes import build_recipe
    from prism.stages.trajectories import RandomTranscriptsRecipe, collect_random_transcripts

    collect_random_transcripts(games, out, build_recipe(RandomTranscriptsRecipe, recipe, "--recipe"), workers)


def panel(
    games: GamesDir,
    split: Annotated[Split, typer.Option(help="Which split the panel is of.")],
    out: Out,
    recipe: Annotated[str, typer.Option(help="JSON: size (0: all), seed.")] = "{}",
    trajectories: Annotated[
        Path | None, typer.Option(help="The corpus; the train panel lists the tasks that have a trajectory.")
    ] = None,
) -> None:
    """Write a fixed panel of tasks."""
    from prism.core.recipes import build_recipe
    from prism.stages.panels import PanelRecipe, make_panel

    make_panel(games, split.value, out, build_recipe(PanelRecipe, recipe, "--recipe"), trajectories)


def prompt_lengths(
    model: Annotated[Path, typer.Option(help="Folder of the backbone, for its tokenizer.")],
    trajectories: Annotated[Path, typer.Option(help="Corpus (JSONL).")],
    out: Annotated[Path, typer.Option("--out", parser=output_file, help="Counts, as JSON.")],
    recipe: Annotated[str, typer.Option(help="The prompt's format as JSON: style, history, context_length.")],
) -> None:
    """Count the prompts of a corpus that are longer than RL and evaluation allow."""
    from prism.core.prompts import PromptFormat
    from prism.core.recipes import build_recipe
    from prism.stages.prompt_lengths import count_prompts

    count_prompts(model, trajectories, out, build_recipe(PromptFormat, recipe, "--recipe"))
