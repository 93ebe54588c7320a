"""Command that says why Snakemake would build something again."""

from __future__ import annotations

from typing import Annotated

import typer

from prism.cli.options import PlanConfigs


def why(
    targets: Annotated[list[str] | None, typer.Argument(help="Files or rules; the default target without any.")] = None,
    configfile: PlanConfigs = None,
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
