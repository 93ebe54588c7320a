"""Tables: cells side by side as CSV for programs and Markdown for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from prism.core.errors import BadInput
from prism.core.files import read_json, write_text
from prism.core.progress import say
from prism.core.tablenames import TABLE1_COLUMNS

SCALE_NOTES = {
    "paper": "paper scale",
    "demo": "DEMO SCALE: tiny backbones, generated games; shows that the machinery works, not that the paper is right",
}
HEADERS = {
    "split": "Split",
    "method": "Method",
    "sft": "SFT %",
    "rl": "RL %",
    **{column: column.capitalize() for column in TABLE1_COLUMNS},
    "paper_all": "Paper's All",
}


def scale_note(scale: str) -> str:
    """One sentence on what a result of this scale means; every table and figure carries it."""
    return SCALE_NOTES.get(
        scale, f"{scale.upper()} SCALE: tiny backbones; it shows that the machinery works, not that the paper is right"
    )


def build_table1(cells: Iterable[Path], methods: Sequence[str], scale: str, out_csv: Path, out_md: Path) -> None:
    """Assemble Table 1 from its cells: one row a (split, method), in the order of `methods`.

    Raises:
        BadInput: a cell is missing from a row, or was made at another scale.
    """
    by_row: dict[tuple[str, str], dict[str, dict]] = {}
    for path in cells:
        cell = read_json(path)
        if cell.get("scale") != scale:
            raise BadInput(path, f"was made at scale {cell.get('scale')!r}, not {scale!r}", "rebuild it with its rule")
        by_row.setdefault((cell["row"]["split"], cell["row"]["method"]), {})[cell["column"]] = cell
    splits = sorted({split for split, _ in by_row})
    frame = pd.DataFrame([_table1_row(split, method, by_row[split, method]) for split in splits for method in methods])
    write_text(out_csv, f"# Table 1, ALFWorld, success rate in percent. {scale_note(scale)}\n" + _as_csv(frame))
    write_text(out_md, _as_markdown(splits, methods, by_row, scale))
    say(f"table 1: {len(frame)} rows")


def _table1_row(split: str, method: str, cells: dict[str, dict]) -> dict:
    missing = [column for column in TABLE1_COLUMNS if column not in cells]
    if missing:
        raise BadInput(
            f"table 1 {split}/{method}", f"cell {missing[0]!r} is missing", "rebuild the cells with their rule"
        )
    whole = cells["all"]
    return {
        "split": split,
        "method": method,
        "sft": whole["sft"],
        "rl": whole["rl"],
        **{column: cells[column]["value"] for column in TABLE1_COLUMNS},
        "all_low": whole["interval"]["low"],
        "all_high": whole["interval"]["high"],
        "episodes": whole["episodes"],
        "seeds": len(whole["seeds"]),
        "paper_all": whole["paper"]["value"],
    }


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
        block = block.drop(columns=[frame.columns[0], *same])
        table = Table(title=title, box=None, padding=(0, 1, 0, 0), title_justify="left")
        for column in block.columns:
            table.add_column(column.replace("_", "\n"), justify="left" if column == "method" else "right", no_wrap=True)
        for row in block.itertuples(index=False):
            table.add_row(*map(_one_decimal, row))
        console.print(table)
    console.print(str(path), style="bold", soft_wrap=True)


def _one_decimal(text: str) -> str:
    whole, dot, decimals = text.partition(".")
    return f"{float(text):.1f}" if dot and (whole + decimals).isdigit() else text


def _as_csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, float_format="%.2f", lineterminator="\n")


def _as_markdown(splits: Sequence[str], methods: Sequence[str], by_row: dict, scale: str) -> str:
    lines = ["# Table 1: ALFWorld, success rate in percent", "", f"**{scale_note(scale)}.**", ""]
    whole = next(iter(by_row.values()))["all"]
    lines.append(
        f"Backbone {whole['backbone']}; {len(whole['seeds'])} seed(s); every method on the same fixed panel of tasks. "
        "All: rate with its 95% Wilson interval. Paper's All: Qwen3-8B, arXiv 2601.07224, Table 1."
    )
    columns = ["method", "sft", "rl", *TABLE1_COLUMNS, "paper_all"]
    for split in splits:
        episodes = by_row[split, methods[0]]["all"]["episodes"]
        lines += ["", f"## {split.capitalize()} ({episodes} episodes a method)", ""]
        lines.append("| " + " | ".join(HEADERS[column] for column in columns) + " |")
        lines.append("|" + "|".join(" --- " if column == "method" else " ---: " for column in columns) + "|")
        for method in methods:
            lines.append("| " + " | ".join(_markdown_cells(by_row[split, method], method)) + " |")
    return "\n".join(lines) + "\n"


def _markdown_cells(cells: dict[str, dict], method: str) -> list[str]:
    whole = cells["all"]
    interval = whole["interval"]
    shown = [_rate(cells[column]["value"]) for column in TABLE1_COLUMNS[:-1]]
    overall = f"{_rate(whole['value'])} [{_rate(interval['low'])}, {_rate(interval['high'])}]"
    return [method, whole["sft"], whole["rl"], *shown, overall, _rate(whole["paper"]["value"], 2)]


def _rate(value: float | None, digits: int = 1) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"
