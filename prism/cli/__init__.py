"""The command line: one command per stage, nothing but argument handling.

Each module of this package registers its commands; heavy libraries are imported inside the commands, so that
``prism --help`` and a refused input answer at once.
"""

from __future__ import annotations

import os
import sys

import typer

from prism.cli import (
    audit,
    backbones,
    containers,
    data,
    doctor,
    evaluation,
    fetch,
    figures,
    learning,
    plan,
    play,
    probing,
    reports,
    results,
    rl,
    sft,
    sources,
    trace,
    webshop,
    why,
)
from prism.core.errors import PrismError
from prism.core.progress import complain, log_to_file
from prism.core.starter import end_with_starter

app = typer.Typer(
    name="prism",
    help="Score trajectories by gradient concentration, route them to SFT and RL, and rebuild the paper.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

for module in (
    probing,
    sources,
    data,
    backbones,
    sft,
    rl,
    evaluation,
    webshop,
    results,
    audit,
    containers,
    doctor,
    fetch,
    figures,
    learning,
    plan,
    play,
    reports,
    trace,
    why,
):
    module.register(app)


def main() -> None:
    """Run the command line; a `PrismError`, or a disk that is full or gone, ends in one line and an exit code."""
    if log_to_file():
        # a workflow started this command: it ends with the workflow
        end_with_starter()
    try:
        app()
    except PrismError as error:
        complain(f"prism: {error}")
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno is None:
            raise
        place = error.filename or "output"
        complain(f"prism: {place}: {os.strerror(error.errno)}; free space or choose another place, then run it again")
        sys.exit(1)
