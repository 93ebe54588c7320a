"""Commands that look before a run: at this machine, and at a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.options import PlanConfigs, PlanProfile


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


def check_plan(
    targets: Annotated[list[str], typer.Argument(help="What to check, as Snakemake is told it.")],
    profile: PlanProfile = None,
    configfile: PlanConfigs = None,
) -> None:
    """Check every command of a plan with the parsers of those who get it, before anything is submitted."""
    from prism.tools.check_plan import check_plan as run
    from prism.tools.snakemake_plan import CLUSTER, settings_for

    run(targets, settings_for(targets, profile, configfile or [], otherwise=CLUSTER))
