"""The command that says where a number comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from prism.core.errors import PrismError


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
