"""Tables in the terminal."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prism.core.errors import BadInput

# what a terminal of 80 characters has no room for; it is in the file
LEFT_OUT = ("_p_holm", "_significant")
LEFT_ALIGNED = ("method", "reference", "test")


def print_table(path: Path) -> None:
    """Print a CSV of results in the terminal: its notes, then one block for each value of the first column.

    Raises:
        BadInput: the file is missing or not a CSV.
    """
    from rich.console import Console
    from rich.table import Table

    try:
        frame = pd.read_csv(path, comment="#", dtype=str, keep_default_na=False)
        notes = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    except (OSError, ValueError) as error:
        raise BadInput(path, "is not a table of results", "build it with snakemake first") from error
    console = Console()
    for note in notes:
        console.print(note.lstrip("# "), style="bold")
    for value, block in frame.groupby(frame.columns[0], sort=False):
        # what is the same in every row goes to the title: the columns then fit 80 characters
        same = [column for column in ("episodes", "seeds") if column in block and block[column].nunique() == 1]
        title = ", ".join([value, *(f"{block[column].iloc[0]} {column}" for column in same)])
        left_out = [column for column in block.columns if column.endswith(LEFT_OUT)]
        block = block.drop(columns=[frame.columns[0], *same, *left_out])
        table = Table(title=title, box=None, padding=(0, 1, 0, 0), title_justify="left")
        for column in block.columns:
            justify = "left" if column in LEFT_ALIGNED else "right"
            table.add_column(column.replace("_", "\n"), justify=justify, no_wrap=True)
        for row in block.itertuples(index=False):
            table.add_row(*map(_one_decimal, row))
        console.print(table)
    console.print(str(path), style="bold", soft_wrap=True)


def _one_decimal(text: str) -> str:
    whole, dot, decimals = text.partition(".")
    return f"{float(text):.1f}" if dot and (whole + decimals).isdigit() else text
