"""CSV tables with leading ``#`` lines that say what they are and where they came from."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import atomic_path


@dataclass(frozen=True)
class Table:
    """A CSV file in memory: the ``#`` lines without their mark, column names, and rows of texts."""

    path: Path
    head: list[str]
    columns: list[str]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        """Values of one column.

        Raises:
            BadInput: there is no such column; suggests the nearest name.
        """
        if name not in self.columns:
            raise missing_column(self.path, name, self.columns)
        index = self.columns.index(name)
        return [row[index] for row in self.rows]

    def numbers(self, name: str) -> list[float]:
        """Values of one column as numbers.

        Raises:
            BadInput: the column is missing or a value is not a number; names the row's first field.
        """
        values = []
        for row, text in zip(self.rows, self.column(name), strict=True):
            try:
                values.append(float(text))
            except ValueError as error:
                raise BadInput(
                    self.path, f"{name} of {row[0]!r} is {text!r}, not a number", "rebuild the table"
                ) from error
        return values

    def note(self, key: str) -> str | None:
        """Value of a head line ``key: value``, or None."""
        for line in self.head:
            name, colon, value = line.partition(":")
            if colon and name.strip() == key:
                return value.strip()
        return None


def missing_column(path: Path, name: str, columns: Sequence[str]) -> BadInput:
    """The error for a column that is not there, with the nearest name as a hint."""
    import difflib

    near = difflib.get_close_matches(name, columns, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(columns)}"
    return BadInput(path, f"has no column {name!r}", hint)


def read_table(path: str | Path) -> Table:
    """Read a CSV file.

    Raises:
        BadInput: it is missing, empty, not UTF-8, or a row has another number of fields than the heading.
    """
    path = Path(path)
    head: list[str] = []
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            position = 0
            while (line := lines.readline()).startswith("#"):
                head.append(line[1:].strip())
                position = lines.tell()
            lines.seek(position)
            rows = list(csv.reader(lines))
    except OSError as error:
        raise BadInput(path, f"cannot be read ({error.strerror})", "check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(path, "is not a CSV file in UTF-8", "rebuild it") from error
    if not rows:
        raise BadInput(path, "is empty", "rebuild it")
    columns, body = rows[0], rows[1:]
    for number, row in enumerate(body, len(head) + 2):
        if len(row) != len(columns):
            raise BadInput(f"{path}:{number}", f"has {len(row)} fields, not {len(columns)}", "rebuild the file")
    return Table(path, head, columns, body)


def write_table(path: str | Path, head: Sequence[str], columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a CSV file atomically. Floats are written with `repr`: equal values are equal bytes.

    Args:
        head: lines put in front, each marked with ``#``.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        out.writelines(f"# {line}\n" for line in head)
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
