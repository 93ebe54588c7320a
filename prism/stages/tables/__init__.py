"""Tables: cells and paired tests side by side, as CSV for programs, Markdown for people and LaTeX for print."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prism.core.csv_files import read_frame
from prism.core.files import write_text
from prism.core.progress import say
from prism.stages.tables.frames import build_frame
from prism.stages.tables.notes import scale_note
from prism.stages.tables.render import as_csv, as_latex, as_markdown

__all__ = ["TableFiles", "build_table", "scale_note"]


@dataclass(frozen=True)
class TableFiles:
    """The three files of a table."""

    csv: Path
    md: Path
    tex: Path


def build_table(table: str, cells: Iterable[Path], tests_csv: Path | None, scale: str, out: TableFiles) -> None:
    """Assemble a table from its cells, rows in the order of the cells.

    Args:
        tests_csv: what `prism.stages.tables.comparisons.write_tests` wrote; None for a table without tests.

    Raises:
        BadInput: a cell is missing from a row or was made at another scale, or the tests cannot be read.
    """
    tests = None if tests_csv is None else read_frame(tests_csv, missing=())[1]
    built = build_frame(table, cells, tests, scale)
    write_text(out.csv, as_csv(built, scale))
    write_text(out.md, as_markdown(built, scale))
    write_text(out.tex, as_latex(built, scale))
    say(f"{table}: {len(built.frame)} rows")
