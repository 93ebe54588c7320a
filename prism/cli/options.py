"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.outputs import output_file, output_folder

Machine = Annotated[str, typer.Option(help="Settings that say how the machine is used, as JSON.")]
Scale = Annotated[str, typer.Option(help="Scale of the run; results say what it means.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Worker processes.")]
OutFile = Annotated[Path, typer.Option("--out", parser=output_file, help="Output; appears whole or not at all.")]
OutFolder = Annotated[Path, typer.Option("--out", parser=output_folder, help="Folder; appears whole or not at all.")]
Manifest = Annotated[Path, typer.Option("--manifest", parser=output_file, help="Counts and the hash, as JSON.")]
Profile = Annotated[
    str | None, typer.Option(help="Snakemake's profile; without it, slurm unless the target is of a small scale.")
]
Configfiles = Annotated[
    list[Path] | None, typer.Option(help="Instead of the config of the target's scale; repeat for more.")
]
