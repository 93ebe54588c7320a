"""The plan of a target on one card, as a table and as CSV: hours by kind of card, and which stage fits which."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from prism.core.files import atomic_path
from prism.tools.plan.one_gpu import Card, CardLine

DOES_NOT_FIT = " !"


def write_card_lines(path: Path, lines: Sequence[CardLine]) -> None:
    """Write the plan as CSV: one line a stage and kind of card."""
    with atomic_path(path) as temporary, Path(temporary).open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([field.name for field in fields(CardLine)])
        for line in lines:
            writer.writerow([f"{value:.4g}" if isinstance(value, float) else value for value in astuple(line)])


def print_card_lines(target: str, lines: Sequence[CardLine], cards: dict[str, Card], source: Path) -> None:
    """Print the plan; a stage that does not fit a card is marked."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Hours of {target} on one card", title_justify="left")
    for heading in ("", "jobs", "GB at the peak", *cards):
        table.add_column(heading, justify="right" if heading else "left")
    for stage in dict.fromkeys(line.stage for line in lines):
        own = [line for line in lines if line.stage == stage]
        hours = [f"{line.hours:,.1f}{'' if line.fits else DOES_NOT_FIT}" for line in own]
        table.add_row(stage, str(own[0].jobs), f"{own[0].gb:.0f}" if own[0].gb else "what there is", *hours)
    table.add_section()
    sums = [sum(line.hours for line in lines if line.card == name) for name in cards]
    table.add_row("all", "", "", *(f"{hours:,.1f}" for hours in sums), style="bold")
    console = Console(width=140)
    console.print(table)
    console.print(
        f"!: does not fit with these settings; docs/one-gpu.md says which do. Hours are scaled from a published run of "
        f"another implementation; nothing was measured here.\nAssumptions and their sources: {source}, under one_gpu."
    )
