"""Commands of the probe: norms, scores, routing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(probe)
    app.command()(score)
    app.command()(split)


def probe(
    model: Annotated[str, typer.Option(help="folder of a Hugging Face model, or its id on the Hub")],
    data: Annotated[Path, typer.Option(help="trajectories or chats, one JSON object a line")],
    out: Annotated[Path, typer.Option(help="parquet file to write")],
    recipe: Annotated[str | None, typer.Option(help="settings as JSON; replaces the next four options")] = None,
    context_length: Annotated[int, typer.Option(help="tokens a row may have; longer ones are truncated")] = 4096,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float64")] = "float32",
    tokens_per_pack: Annotated[int, typer.Option(help="tokens of one forward pass; less needs less memory")] = 4096,
    gradient_checkpointing: Annotated[bool, typer.Option(help="less memory, more time")] = False,
    shard: Annotated[int, typer.Option(help="part to probe, from 0")] = 0,
    shards: Annotated[int, typer.Option(help="number of parts the corpus is probed in")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    resume: Annotated[bool, typer.Option(help="go on where an interrupted run stopped")] = False,
    strict: Annotated[bool, typer.Option(help="refuse trajectories longer than the context")] = False,
) -> None:
    """Gradient norm of every projection matrix for every trajectory."""
    from prism.core.prompts import PromptFormat
    from prism.core.recipes import build_recipe
    from prism.stages.probe import ProbeRecipe, probe_shard

    if recipe is not None:
        settings = build_recipe(ProbeRecipe, recipe, "--recipe")
    else:
        prompt = PromptFormat("full", "pairs:2", "steps", context_length)
        settings = ProbeRecipe(prompt, dtype, tokens_per_pack, gradient_checkpointing)
    probe_shard(model, data, out, shard, shards, settings, device=device, resume=resume, strict=strict)


def score(
    norms: Annotated[list[Path], typer.Argument(help="all parquet files of one probe")],
    out: Annotated[Path, typer.Option(help="CSV file to write")],
    passrates: Annotated[Path | None, typer.Option(help="CSV with columns id and pass_rate")] = None,
    recipe: Annotated[str, typer.Option(help='settings as JSON: {"random_seeds": [1, 2]}')] = "{}",
) -> None:
    """Concentration of every trajectory's gradient: Gini, kurtosis, CV, L2."""
    from prism.core.recipes import build_recipe
    from prism.stages.scores import ScoresRecipe, compute_scores

    compute_scores(norms, passrates, out, build_recipe(ScoresRecipe, recipe, "--recipe"))


def split(
    scores: Annotated[Path, typer.Argument(help="CSV file of prism score")],
    score: Annotated[str, typer.Option(help="column to route by")],
    rl_percent: Annotated[float, typer.Option(help="share of the trajectories for RL, in percent")],
    out: Annotated[Path, typer.Option(help="CSV file to write")],
) -> None:
    """Route trajectories above the score's quantile to RL, the others to SFT (a rule's view of `prism route`)."""
    from prism.stages.splits import make_split

    make_split(scores, score, rl_percent, out)
