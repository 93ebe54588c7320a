"""Command that says why Snakemake would build something again."""

from __future__ import annotations

from typing import Annotated

import typer


def why(
    targets: Annotated[list[str] | None, typer.Argument(help="Files or rules; the default target without any.")] = None,
    configfile: Annotated[list[str] | None, typer.Option(help="Overlay of the config, as for snakemake.")] = None,
    profile: Annotated[str | None, typer.Option(help="Profile, as for snakemake.")] = None,
) -> None:
    """Say in words what would run for a target, and because of which edit. Nothing is run."""
    from prism.stages.why import describe
    from prism.stages.why import why as ask

    options = [part for path in configfile or () for part in ("--configfile", path)]
    options += ["--profile", profile] if profile else []
    for line in describe(ask(targets or (), options)):
        typer.echo(line)
