"""Commands of reinforcement learning and of what routes tasks to it by rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.options import Machine
from prism.cli.outputs import output_file, output_folder


def rl(
    init: Annotated[Path, typer.Option(help="Model folder to start from.")],
    games: Annotated[Path, typer.Option(help="Folder that the panel's games are relative to.")],
    panel: Annotated[Path, typer.Option(help="Panel of training tasks.")],
    out: Annotated[
        Path, typer.Option(parser=output_folder, help="Model folder to write, with rollouts.jsonl and metrics.csv.")
    ],
    work: Annotated[Path, typer.Option(help="Folder for checkpoints; a killed run continues from it.")],
    recipe: Annotated[str, typer.Option(help="Settings as one JSON object.")],
    split: Annotated[Path | None, typer.Option(help="Split file; without one all tasks are used.")] = None,
    regime: Annotated[str, typer.Option(help="Rows of the split to train on.")] = "rl",
    seed: Annotated[int, typer.Option(help="Seed of data order, sampling and training.")] = 0,
    exclude_panel: Annotated[
        list[Path] | None, typer.Option(help="Evaluation panel that no task may be of; may be repeated.")
    ] = None,
    machine: Machine = "{}",
) -> None:
    """Train a model with RL (verl) on the tasks that a split routes to it."""
    from prism.core.recipes import build_recipe
    from prism.stages.rl import RlRecipe, train_rl

    settings = build_recipe(RlRecipe, recipe, "--recipe", machine)
    train_rl(init, games, panel, split, out, work, settings, seed, regime, exclude_panel or ())


def pass_rates(
    model: Annotated[Path, typer.Option(help="Folder of the untrained backbone.")],
    games: Annotated[Path, typer.Option(help="Data folder of the benchmark.")],
    panel: Annotated[Path, typer.Option(help="Panel of training tasks.")],
    out: Annotated[
        Path,
        typer.Option(parser=output_file, help="CSV to write: solved and broken rollouts of every task of the shard."),
    ],
    recipe: Annotated[str, typer.Option(help="Settings of the evaluation, with rollouts and seed, as JSON.")],
    shard: Annotated[int, typer.Option(help="Part to play, from 0.")] = 0,
    shards: Annotated[int, typer.Option(help="Number of parts the tasks are played in.")] = 1,
    loop_time: Annotated[Path | None, typer.Option(help="JSON to write: seconds of the episodes alone.")] = None,
    machine: Machine = "{}",
) -> None:
    """Count how often the untrained backbone solves each training task (HPT)."""
    from prism.core.recipes import build_recipe
    from prism.stages.pass_rates import PassRatesRecipe, measure_pass_rates

    settings = build_recipe(PassRatesRecipe, recipe, "--recipe", machine)
    measure_pass_rates(model, games, panel, out, settings, shard, shards, loop_time)


def pass_rate_table(
    counts: Annotated[list[Path], typer.Argument(help="All files that prism stage pass-rates wrote.")],
    out: Annotated[
        Path, typer.Option(parser=output_file, help="CSV to write: pass rate and tie-broken rank of every task.")
    ],
) -> None:
    """Join counted rollouts into pass rates and rank them."""
    from prism.stages.pass_rate_table import merge_pass_rates

    merge_pass_rates(counts, out)
