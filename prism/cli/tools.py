"""What people call to look at numbers, runs, plans, machines and containers."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prism.cli.options import Configfiles, Profile
from prism.cli.outputs import output_file
from prism.core.errors import BadInput, PrismError
from prism.core.progress import printable

ROOT = Path(__file__).resolve().parents[2]


class Role(StrEnum):
    """What an image is for."""

    cpu = "cpu"
    sft = "sft"
    rl = "rl"


class Compression(StrEnum):
    """Compression of an image's file system."""

    gzip = "gzip"
    lz4 = "lz4"


def audit(
    paper: Annotated[Path, typer.Option(help="Folder of the paper's published numbers.")],
    out_csv: Annotated[Path, typer.Option(parser=output_file, help="One line a finding (CSV).")],
    out_md: Annotated[Path, typer.Option(parser=output_file, help="The same for people (Markdown).")],
    before: Annotated[
        Path | None, typer.Option(help="Folder of an earlier version: what changed, what stands?")
    ] = None,
) -> None:
    """Recompute the paper's published numbers from each other."""
    from prism.stages.audit import audit_paper

    audit_paper(paper, out_csv, out_md, before)


def audit_table(
    tables: Annotated[list[Path], typer.Argument(help="CSV with the columns method, group, rate and, if known, n.")],
    out_csv: Annotated[Path | None, typer.Option(parser=output_file, help="Also one line a finding (CSV).")] = None,
) -> None:
    """Check the success rates of any paper: sample sizes, panels, rows that stand twice, differences beyond chance."""
    from prism.tools.audit_table import audit_tables

    for finding in audit_tables(tables, out_csv):
        typer.echo(f"{finding.verdict:9}  {finding.place}, {finding.claim}\n           {finding.result}")
        typer.echo(f"           -> {finding.meaning}")


def verify(
    results: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    against: Annotated[
        Path | None,
        typer.Option(help="Records, or another run; without it, the records shipped for its scale."),
    ] = None,
    any_verdict: Annotated[bool, typer.Option("--any-verdict", help="Exit with 0 also where it differs.")] = False,
) -> None:
    """Say whether a run reproduces a recorded one, stage by stage; writes {results}/certificate.md and .json."""
    from prism.core.results import Results
    from prism.stages.verify import NOT_REPRODUCED
    from prism.stages.verify import verify as run

    against = against or ROOT / "resources/records" / results.name
    certificate = Results(results).certificate
    if run(results, against, certificate("json"), certificate("md")) == NOT_REPRODUCED and not any_verdict:
        raise typer.Exit(1)


def show(file: Annotated[Path, typer.Argument(help="A table of results (CSV).")]) -> None:
    """Print a table of results in the terminal, and where it is."""
    from prism.tools.show import print_table

    print_table(file)


def trace(
    cell: Annotated[Path, typer.Argument(help="A cell: {results}/cells/.../{column}.json.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a tree.")] = False,
    check: Annotated[bool, typer.Option(help="Hash the files and compare with what was recorded.")] = True,
) -> None:
    """Print everything that a number rests on: data, norms, split, checkpoints, commands, versions, seeds, times."""
    from prism.tools.trace import CHANGED, MISSING, print_trace, trace_cell

    step = trace_cell(cell, check)
    if as_json:
        typer.echo(json.dumps(step.as_dict(), indent=2, ensure_ascii=False))
    else:
        print_trace(step)
    states = {current.path: current.state for current in step.all_steps()}
    if changed := sorted(path for path, state in states.items() if state == CHANGED):
        raise PrismError(f"{changed[0]}: is not what the number was made from; rebuild it with its rule")
    if missing := sorted(path for path, state in states.items() if state == MISSING):
        typer.echo(f"{len(missing)} files are not there, the first: {missing[0]}", err=True)


def why(
    targets: Annotated[list[str] | None, typer.Argument(help="Files or rules; the default target without any.")] = None,
    configfile: Configfiles = None,
    profile: Annotated[
        str | None, typer.Option(help="Snakemake's profile; without it, slurm for targets of the paper's scale.")
    ] = None,
) -> None:
    """Say in words what would run for a target, and because of which edit. Nothing is run."""
    from prism.tools.snakemake_plan import planned_jobs, settings_for
    from prism.tools.why import describe, explain

    targets = targets or []
    settings = settings_for(targets, profile, configfile or [])
    for line in describe(explain(planned_jobs(targets, settings.options))):
        typer.echo(line)


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


def play(
    benchmark: Annotated[str, typer.Argument(metavar="BENCHMARK", help="What to play: alfworld or webshop.")],
    games: Annotated[
        Path | None, typer.Option(help="Its data folder; without it, the demo's: results/demo/data/.../games.")
    ] = None,
    game: Annotated[str, typer.Option(help="A game's name, as panels list it; without it, the first one.")] = "",
    max_steps: Annotated[int, typer.Option("--max-steps", min=1, help="Steps you may take.")] = 20,
) -> None:
    """Play one episode in the terminal; you see what an agent sees."""
    from rich.console import Console

    from prism.core.results import Results
    from prism.tools.play import first_game, open_games, play_episode

    folder = games or Results("results/demo").games(benchmark)
    source = open_games(benchmark, folder)
    environment = source.open(game or first_game(benchmark, folder))
    play_episode(environment, max_steps, input, Console())


def plan(
    target: Annotated[
        str | None, typer.Argument(help="What to plan, as Snakemake is told it: results/tables/table1.csv")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the plan's csv.")] = Path("results/plan"),
    profile: Profile = None,
    configfile: Configfiles = None,
    everything: Annotated[bool, typer.Option("--everything", help="Also what has been built already.")] = False,
    power: Annotated[
        bool, typer.Option("--power", help="Instead: how many seeds and tasks a claimed gain needs.")
    ] = False,
) -> None:
    """Say what a target will cost: jobs, GPU-hours, least wall-clock on 1, 2 and 4 nodes, disk, energy, CO2."""
    from prism.tools.plan import plan_power, plan_target
    from prism.tools.snakemake_plan import CLUSTER, settings_for

    settings = settings_for([target] if target else [], profile, configfile or [], otherwise=CLUSTER)
    if power:
        return plan_power(settings)
    if target is None:
        raise BadInput("prism plan", "no target", "name one, for example results/tables/table1.csv, or give --power")
    plan_target(target, out, settings, everything)


def check_plan(
    context: typer.Context,
    targets: Annotated[list[str], typer.Argument(help="What to check, as Snakemake is told it.")],
    profile: Profile = None,
    configfile: Configfiles = None,
) -> None:
    """Check every command of a plan with the parsers of those who get it, before anything is submitted."""
    from prism.tools.check_plan import check_plan as run
    from prism.tools.snakemake_plan import CLUSTER, settings_for

    settings = settings_for(targets, profile, configfile or [], otherwise=CLUSTER)
    run(targets, settings, context.find_root().command)


def recover(
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the jobs instead of waiting for them.")] = False,
) -> None:
    """After Snakemake was killed: wait for the SLURM jobs that it left, then remove its lock."""
    from prism.tools.recover import recover_run

    recover_run(cancel)


def doctor(
    gpu: Annotated[bool, typer.Option("--gpu", help="Run every GPU stage once, tiny.")] = False,
    work: Annotated[Path | None, typer.Option(help="Keep what --gpu writes, logs included, in this folder.")] = None,
) -> None:
    """Say what works on this machine, in one table; exit code 1 if something needed does not."""
    from prism.tools.doctor import OK, examine, exercise, gpus, is_sound, table

    findings = gpus() if gpu else examine()
    if gpu and any(found.state != OK for found in findings):
        typer.echo(table(findings))
        typer.echo("no GPU here: run `prism doctor --gpu` in a job on a GPU node (docs/cluster.md)")
        raise typer.Exit(1)
    if gpu:
        findings += exercise(work)
    typer.echo(table(findings))
    if not is_sound(findings):
        raise typer.Exit(1)


def check_images(
    image: Annotated[list[str] | None, typer.Argument(help="ROLE=IMAGE: also check built images.")] = None,
) -> None:
    """Check every definition, and that the given images were made from today's locks."""
    from prism.tools.containers import ROLES, check_image, definition_problems

    problems = [problem for role in ROLES for problem in definition_problems(ROOT, role)]
    if problems:
        for problem in problems[:-1]:
            typer.echo(problem, err=True)
        raise BadInput("containers", problems[-1], "mend the definition")
    for text in image or ():
        role, _, path = text.partition("=")
        if role not in ROLES or not path:
            raise BadInput(text, "is not ROLE=IMAGE", f"roles are {', '.join(ROLES)}")
        check_image(ROOT, role, Path(path))
    typer.echo(f"{len(ROLES)} definitions and {len(image or ())} images are sound")


def build_image(
    role: Annotated[Role, typer.Argument(help="What the image is for.")],
    out: Annotated[
        Path | None, typer.Option(parser=output_file, help="The image; containers/ROLE.sif without it.")
    ] = None,
    without_post: Annotated[
        bool, typer.Option(help="As root: prepare the file system outside apptainer, on Debian.")
    ] = False,
    compression: Annotated[Compression, typer.Option(help="gzip, or lz4 for quick builds.")] = Compression.gzip,
) -> None:
    """Build an image and record its sha256 beside it."""
    from prism.tools import containers

    target = out or ROOT / "containers" / f"{role.value}.sif"
    containers.build_image(ROOT, role.value, target, without_post, compression.value)
