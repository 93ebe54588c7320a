"""What people call on their own trajectories: norms, scores, routing, a picture."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from prism.cli.options import Machine
from prism.cli.outputs import ModelName, output_file
from prism.core.errors import BadInput
from prism.core.progress import printable
from prism.core.recipes import build_recipe


def probe(
    model: Annotated[str, typer.Option(parser=ModelName, help="folder of a Hugging Face model, or its id on the Hub")],
    data: Annotated[Path, typer.Option(help="trajectories, chats or tokens: file, folder, or id of a Hub data set")],
    out: Annotated[Path, typer.Option(parser=output_file, help="parquet file to write")],
    columns: Annotated[str, typer.Option(help="names of the data's columns: messages=dialog,id=uid")] = "",
    split: Annotated[str | None, typer.Option(help="of a folder or a Hub data set, instead of train")] = None,
    recipe: Annotated[str | None, typer.Option(help="settings as JSON; replaces the next twelve options")] = None,
    context_length: Annotated[int, typer.Option(help="tokens a row may have; longer ones are truncated")] = 4096,
    layout: Annotated[
        str, typer.Option(help="of expert trajectories: steps (a row a step) or conversation (one row)")
    ] = "steps",
    loss_on: Annotated[str, typer.Option(help="tokens that carry loss: response or all")] = "response",
    chat_template: Annotated[
        Path | None, typer.Option(help="of chats: file with a chat template, instead of the tokenizer's")
    ] = None,
    chat_template_kwargs: Annotated[
        str, typer.Option(help='of chats: variables of the template as JSON, {"enable_thinking": false}')
    ] = "{}",
    date: Annotated[str, typer.Option(help="of chats: the day that a template prints, not today (YYYY-MM-DD)")] = "",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float64")] = "float32",
    memory: Annotated[
        str, typer.Option(help="auto: planned from what is free; fixed: the next three options as they are")
    ] = "auto",
    tokens_per_pack: Annotated[int, typer.Option(help="tokens of one forward pass; 0: 4096, or as planned")] = 0,
    gradient_checkpointing: Annotated[bool, typer.Option(help="less memory, more time")] = False,
    stream: Annotated[bool, typer.Option(help="a layer's weights lie in memory only while it runs")] = False,
    matrices: Annotated[
        str, typer.Option(help="measured: seven, all-linear or per-expert; auto: seven where layers have just these")
    ] = "auto",
    machine: Machine = "{}",
    shard: Annotated[int, typer.Option(help="part to probe, from 0")] = 0,
    shards: Annotated[int, typer.Option(help="number of parts the corpus is probed in")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or one GPU, as cuda:1")] = "auto",
    devices: Annotated[
        str, typer.Option(help="several, a process each: all (every GPU here), or names as in cuda:0,cuda:1 or cpu,cpu")
    ] = "",
    worker: Annotated[int | None, typer.Option(hidden=True, help="which of these processes this one is")] = None,
    resume: Annotated[bool, typer.Option(help="go on where an interrupted run stopped")] = False,
    strict: Annotated[
        bool, typer.Option(help="refuse trajectories longer than the context, and chats not rendered in full")
    ] = False,
    loop_time: Annotated[Path | None, typer.Option(help="JSON file to write: seconds of the passes alone")] = None,
) -> None:
    """Gradient norm of every projection matrix for every trajectory."""
    from prism.core.chat_templates import read_form
    from prism.core.data_source import DataSource, parse_columns
    from prism.core.shards import Shard
    from prism.core.starter import end_with_starter
    from prism.stages.probe import ChatProbeRecipe, MemoryPlan, ProbeOptions, probe_shard
    from prism.stages.probe_devices import number_of_trajectories, probe_on_devices
    from prism.stages.probe_team import Team, parse_devices

    if memory not in ("auto", "fixed"):
        raise BadInput("--memory", f"{memory!r} is neither auto nor fixed", "choose one")
    use = None
    if recipe is not None:
        settings = build_recipe(ChatProbeRecipe, recipe, "--recipe", machine)
    else:
        prompt = {"style": "full", "history": "pairs:2", "context_length": context_length}
        values = {"layout": layout, "loss_on": loss_on, "dtype": dtype, "tokens_per_pack": tokens_per_pack or 4096}
        values["matrices"] = matrices
        values |= {"prompt": prompt, "gradient_checkpointing": gradient_checkpointing}
        values["chat"] = asdict(read_form(chat_template, chat_template_kwargs, date))
        settings = build_recipe(ChatProbeRecipe, values, "prism probe")
        fixed = memory == "fixed"
        use = MemoryPlan(
            settings.tokens_per_pack if fixed else tokens_per_pack, gradient_checkpointing, stream, settled=fixed
        )
    source, part = DataSource(str(data), split, parse_columns(columns)), Shard(shard, shards)
    chosen = parse_devices(devices, device) if devices else (device,)
    if len(chosen) > 1 and loop_time is not None:
        raise BadInput("--loop-time", "is the time of one device", "leave it out, or name one device")
    if len(chosen) > 1 and worker is None:
        total = number_of_trajectories(source, settings, part)
        probe_on_devices(sys.argv[1:], chosen, out, total, resume)
        return
    team = None if worker is None else Team(out, chosen, worker)
    if team is not None:
        end_with_starter()
    options = ProbeOptions(chosen[0], resume, strict, loop_time, use, team)
    probe_shard(model, source, out, settings, part, options)


def score(
    norms: Annotated[list[Path], typer.Argument(help="all parquet files of one probe")],
    out: Annotated[Path, typer.Option(parser=output_file, help="CSV file to write")],
    passrates: Annotated[Path | None, typer.Option(help="CSV with columns id and pass_rate")] = None,
    recipe: Annotated[str, typer.Option(help='settings as JSON: {"epsilon": 1e-8}')] = "{}",
) -> None:
    """Concentration of every trajectory's gradient: Gini, kurtosis, CV, L2."""
    from prism.stages.scores import ScoresRecipe, compute_scores

    compute_scores(norms, passrates, out, build_recipe(ScoresRecipe, recipe, "--recipe"))


def route(
    scores: Annotated[Path, typer.Argument(help="CSV file of prism score")],
    out: Annotated[Path, typer.Option(parser=output_file, help="CSV file to write: id, score, regime")],
    by: Annotated[str, typer.Option(help="score to route by")] = "gini",
    rl_share: Annotated[float, typer.Option(help="share of the trajectories for RL, between 0 and 1")] = 0.5,
    emit: Annotated[
        str, typer.Option(help="also write the halves: llamafactory, llamafactory-messages, verl, with commas")
    ] = "",
    data: Annotated[Path | None, typer.Option(help="the probed file, if it moved (for --emit)")] = None,
) -> None:
    """Send concentrated trajectories to RL, the others to SFT."""
    from prism.tools.route import route as route_corpus

    _check_share(rl_share)
    formats = [name.strip() for name in emit.split(",") if name.strip()]
    route_corpus(scores, by, 100 * rl_share, out, formats, data)


def explain(
    norms: Annotated[list[Path], typer.Argument(help="parquet files of one probe")],
    sample: Annotated[str, typer.Option(help="id of the trajectory")],
    out: Annotated[Path, typer.Option(parser=output_file, help="picture to write, .svg or .png")] = Path("profile.svg"),
) -> None:
    """Draw one trajectory's gradient profile and name the matrices that dominate it."""
    from prism.tools.explain import explain as explain_sample

    typer.echo(printable(explain_sample(norms, sample, out)))


def compare(
    norms: Annotated[list[Path], typer.Argument(help="files of prism probe: of one probe, then of another")],
    by: Annotated[str, typer.Option(help="score whose sides --trajectories lists")] = "gini",
    recipe: Annotated[str, typer.Option(help='settings of the scores as JSON: {"epsilon": 1e-8}')] = "{}",
    out: Annotated[Path | None, typer.Option(parser=output_file, help="CSV file to write: a score a row")] = None,
    trajectories: Annotated[
        Path | None, typer.Option(parser=output_file, help="CSV file to write: which change sides")
    ] = None,
) -> None:
    """How far two probes agree, and which trajectories change sides: another layout, dtype, backbone, checkpoint."""
    from prism.stages.compare_probes import compare_probes, describe, write_comparison, write_sides
    from prism.stages.scores import ScoresRecipe

    found = compare_probes(norms, build_recipe(ScoresRecipe, recipe, "--recipe").epsilon)
    if trajectories is not None:
        write_sides(found, by, trajectories)
    if out is not None:
        write_comparison(found, out)
    typer.echo(printable(describe(found)))


def report(
    norms: Annotated[list[Path], typer.Argument(help="all parquet files of one probe")],
    out: Annotated[Path, typer.Option(parser=output_file, help="HTML page to write; it needs no other file")],
    by: Annotated[str, typer.Option(help="score to route by")] = "gini",
    rl_share: Annotated[float, typer.Option(help="share of the trajectories for RL, between 0 and 1")] = 0.5,
    data: Annotated[Path | None, typer.Option(help="the probed data, if it moved")] = None,
    text: Annotated[bool, typer.Option(help="put the trajectories' texts into the page")] = True,
) -> None:
    """A page of one probe: distributions and split, what the scores go with, every trajectory with text and profile."""
    from prism.tools.report import build_report

    _check_share(rl_share)
    build_report(norms, by, rl_share, out, data, text)


def _check_share(rl_share: float) -> None:
    if not 0 < rl_share < 1:
        remedy = f"for {rl_share:g} percent give {rl_share / 100:g}" if 1 < rl_share < 100 else "0.5 is one half"
        raise BadInput("--rl-share", f"{rl_share:g} is not between 0 and 1", remedy)
