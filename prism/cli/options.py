"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Machine = Annotated[str, typer.Option(help="Settings that say how the machine is used, as JSON.")]
PlanProfile = Annotated[
    str | None, typer.Option(help="Snakemake's profile; without it, slurm unless the target is of a small scale.")
]
PlanConfigs = Annotated[
    list[Path] | None, typer.Option(help="Instead of the config of the target's scale; repeat for more.")
]
