"""Commands that wrap up a run: its page, its provenance, and its records for a replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.outputs import output_file, output_folder
from prism.core.errors import BadInput

Results = Annotated[Path, typer.Option(help="Folder of a finished run.")]
Names = Annotated[str, typer.Option(help="Names, separated by commas.")]


def index_page(
    results: Results,
    tables: Names,
    figures: Names,
    captions: Annotated[Path, typer.Option(help="Folder of captions: {table or figure}.rst.")],
    scale: Annotated[str, typer.Option()],
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")],
    out: Annotated[Path, typer.Option(parser=output_file, help="The page (HTML).")],
) -> None:
    """Write the page that a person opens first: tables, figures, cost and versions of a run."""
    from prism.stages.index_page import build_index_page

    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError as error:
        raise BadInput("--seeds", f"cannot read {seeds!r}", "give whole numbers, separated by commas") from error
    build_index_page(results, tables.split(","), figures.split(","), captions, scale, numbers, out)


def crate(
    results: Results,
    workflow: Annotated[Path, typer.Option(help="The repository that made the run.")],
    config: Annotated[str, typer.Option(help="Scale, seeds and targets of the run, as JSON.")],
    snapshot: Annotated[
        Path, typer.Option(parser=output_folder, help="Folder in the results for the rules and the config of the run.")
    ],
    out: Annotated[Path, typer.Option(parser=output_file, help="ro-crate-metadata.json in the results.")],
) -> None:
    """Describe a finished run as a Workflow Run RO-Crate."""
    from prism.stages.crate import build_crate

    build_crate(results, workflow, config, snapshot, out)


def pack_records(
    results: Results,
    out: Annotated[Path, typer.Option(help="Folder of the records.")],
) -> None:
    """Copy from a finished run what its tables and figures can be rebuilt from without training."""
    from prism.tools.records import pack_records as pack

    pack(results, out)
