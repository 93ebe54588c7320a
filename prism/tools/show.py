"""Tables in the terminal: every column of the file, in as many parts as its width needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prism.core.csv_files import SIZES, is_numeric, read_table, rounded, size_in_words
from prism.core.csv_files import Table as CsvTable
from prism.core.errors import BadInput
from prism.core.paper_tables import GROUP_COLUMNS
from prism.core.progress import printable

GAP = 1


class Column:
    """A column as it is shown: heading, texts, and the width that both need."""

    def __init__(self, name: str, texts: Sequence[str], names_rows: bool):
        self.name = printable(name, keep="")
        self.is_numeric = not names_rows and is_numeric(texts)
        self.texts = [printable(text, keep="") for text in (rounded(texts) if self.is_numeric else texts)]
        self.heading = self.name.replace("_", "\n")
        self.width = GAP + max(map(cell_len, (*self.heading.splitlines(), *self.texts)), default=0)


def print_table(path: Path) -> None:
    """Print a CSV of results: its notes, then a block for each split, backbone or benchmark.

    Columns that have no room beside the others follow below, with the columns that name the rows repeated; where a
    text is too long even for that, each row becomes a list of its fields. No number is cut.

    Raises:
        BadInput: the file is missing or not a CSV, or a row has another number of fields than the heading.
    """
    if not Path(path).exists():
        raise BadInput(path, "does not exist", "build it with snakemake first")
    table = read_table(path)
    console = Console(markup=False, emoji=False, highlight=False)
    for note in table.head:
        console.print(printable(note), style="bold")
    for title, rows in _blocks(table):
        fields = zip(table.columns, zip(*rows, strict=True), strict=True)
        columns = [Column(name, texts, names_rows=not number) for number, (name, texts) in enumerate(fields)]
        _print_block(title, columns, console)
    if not table.rows:
        console.print(f"no rows; columns: {printable(', '.join(table.columns))}")
    console.print(printable(str(path)), style="bold", soft_wrap=True)


def _blocks(table: CsvTable) -> Iterator[tuple[str, list[Sequence[str]]]]:
    """Rows by the value of their first field, if that is what tables are parted by; else all rows, without a title."""
    blocks: dict[str, list[Sequence[str]]] = {}
    for row in table.rows:
        blocks.setdefault(row[0] if table.columns[0] in GROUP_COLUMNS else "", []).append(row)
    yield from blocks.items()


def _print_block(title: str, columns: Sequence[Column], console: Console) -> None:
    words = [printable(title, keep="")] if title else []
    columns = columns[1:] if title else columns
    if title:
        words += [size_in_words(column.name, column.texts[0]) for column in columns if _is_size(column)]
        columns = [column for column in columns if not _is_size(column)]
    names, others = _row_names(columns)
    if len(names) == 1:
        # long ids go on over several lines
        names[0].width = min(names[0].width, console.width // 2)
    room = console.width - sum(column.width for column in names)
    if any(column.width > room for column in others):
        _print_records(words, columns, console)
        return
    for number, part in enumerate(_parts(others, room)):
        shown = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
        for column in (*names, *part):
            justify = "right" if column.is_numeric else "left"
            shown.add_column(Text(column.heading), justify=justify, width=column.width - GAP, overflow="fold")
        for fields in zip(*(column.texts for column in (*names, *part)), strict=True):
            shown.add_row(*map(Text, fields))
        if words:
            console.print(", ".join(words) + (" (continued)" if number else ""), style="italic")
        console.print(shown)


def _is_size(column: Column) -> bool:
    """Whether it belongs to the title: a size that all rows share."""
    return column.name in SIZES and len(set(column.texts)) == 1


def _row_names(columns: Sequence[Column]) -> tuple[list[Column], list[Column]]:
    """The fewest first columns that tell all rows apart, and the others."""
    for count in range(1, len(columns)):
        if len(set(zip(*(column.texts for column in columns[:count]), strict=True))) == len(columns[0].texts):
            return list(columns[:count]), list(columns[count:])
    return list(columns[:1]), list(columns[1:])


def _parts(columns: Sequence[Column], room: int) -> Iterator[list[Column]]:
    """Columns side by side as far as there is room; one empty part if there are none."""
    part: list[Column] = []
    for column in columns:
        if part and sum(other.width for other in (*part, column)) > room:
            yield part
            part = []
        part.append(column)
    yield part


def _print_records(words: Sequence[str], columns: Sequence[Column], console: Console) -> None:
    if words:
        console.print(", ".join(words), style="italic")
    for fields in zip(*(column.texts for column in columns), strict=True):
        console.print(fields[0], style="bold")
        shown = Table.grid(padding=(0, GAP, 0, 0))
        shown.add_column(no_wrap=True)
        shown.add_column(overflow="fold")
        for column, text in zip(columns[1:], fields[1:], strict=True):
            if text:
                shown.add_row(Text(f"  {column.name}"), Text(text))
        console.print(shown)
