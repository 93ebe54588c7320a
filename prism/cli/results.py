"""Commands that read results: cells, tables, figures, summaries."""

from __future__ import annotations

import typer

from prism import __version__


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""

    @app.command()
    def version() -> None:
        """Print the version."""
        typer.echo(__version__)

    @app.callback()
    def _root() -> None:
        """Score trajectories by gradient concentration, route them to SFT and RL, and rebuild the paper."""
