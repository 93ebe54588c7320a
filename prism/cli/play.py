"""Commands for people who want to look: play an episode, look at a recorded one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prism.cli.outputs import output_file


class Benchmark(StrEnum):
    """Benchmarks that can be played."""

    alfworld = "alfworld"
    webshop = "webshop"


def play(
    benchmark: Annotated[Benchmark, typer.Argument(help="What to play.")],
    games: Annotated[
        Path | None, typer.Option(help="Its data folder; without it, the demo's: results/demo/data/.../games.")
    ] = None,
    game: Annotated[str, typer.Option(help="A game's name, as panels list it; without it, the first one.")] = "",
    max_steps: Annotated[int, typer.Option("--max-steps", min=1, help="Steps you may take.")] = 20,
) -> None:
    """Play one episode in the terminal; you see what an agent sees."""
    from rich.console import Console

    from prism.tools.play import first_game, open_games, play_episode

    folder = games or Path("results/demo/data") / benchmark.value / "games"
    source = open_games(benchmark.value, folder)
    environment = source.open(game or first_game(benchmark.value, folder))
    play_episode(environment, max_steps, input, Console())


def replay(
    episode: Annotated[Path, typer.Argument(help="An evaluation's JSON file, or a .jsonl file of trajectories.")],
    task: Annotated[str, typer.Option(help="Which task's episode; without it, the first one.")] = "",
    list_: Annotated[
        bool, typer.Option("--list", help="Print the ids of the file's episodes, and how they ended.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(parser=output_file, help="Write a static HTML page instead of printing.")
    ] = None,
    games: Annotated[Path | None, typer.Option(help="Evaluations: the benchmark's data folder.")] = None,
    panel: Annotated[Path | None, typer.Option(help="Evaluations: the panel that was played.")] = None,
) -> None:
    """Show a recorded episode step by step."""
    from rich.console import Console

    from prism.core.progress import printable
    from prism.tools.episode_pages import load_episode, read_recording, show_episode, write_page

    if list_:
        for line in read_recording(episode).overview():
            typer.echo(printable(line))
        return
    recorded = load_episode(episode, task, games, panel)
    if html is None:
        show_episode(recorded, Console())
    else:
        write_page(recorded, html)
