"""CSV tables with leading ``#`` lines that say what they are and where they came from.

Ids come from people's data, and a spreadsheet runs a cell such as ``=cmd|'/C calc'!A0``. Texts that begin like a
formula and are no number are therefore written with an apostrophe in front, which spreadsheets take as "this is text",
and `read_table` takes it off again: every text is read back as it was.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from prism.core.errors import BadInput
from prism.core.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd


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

    def place(self, index: int) -> str:
        """File and line of a row, for errors; rows count from 0 and have a line each."""
        return f"{self.path}:{len(self.head) + 2 + index}"

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
    """Read a CSV file, ours or as a spreadsheet saved it again.

    Raises:
        BadInput: it is missing, empty, not UTF-8, separated by something else than commas, or a row has another number
            of fields than the heading.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        head, body = _split_head(text)
        rows = list(_numbered_rows(body, len(head)))
    except OSError as error:
        raise BadInput(path, f"cannot be read ({error.strerror})", "check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(path, "is not a CSV file in UTF-8", "rebuild it") from error
    if not rows:
        raise BadInput(path, "is empty", "rebuild it")
    _, columns = rows.pop(0)
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(columns) == 1 and separator in columns[0]:
            raise BadInput(path, f"its fields are separated by {name}", "save it with commas, and points in numbers")
    for number, row in rows:
        if len(row) != len(columns):
            raise BadInput(f"{path}:{number}", f"has {len(row)} fields, not {len(columns)}", "rebuild the file")
    return Table(path, head, columns, [[_unguarded(field) for field in row] for _, row in rows])


def read_frame(
    path: str | Path, texts: Collection[str] = (), missing: Collection[str] = ("", "nan")
) -> tuple[list[str], pd.DataFrame]:
    """Read a CSV file as its ``#`` lines, without the mark, and a data frame.

    Args:
        texts: columns that stay as they stand, such as ids: ``007`` and ``NA`` are names there.
        missing: what stands for no value in any other column.

    Raises:
        BadInput: as `read_table`.
    """
    import pandas as pd

    table = read_table(path)
    body = io.StringIO()
    csv.writer(body).writerows([table.columns, *table.rows])
    body.seek(0)
    frame = pd.read_csv(
        body,
        dtype=dict.fromkeys(texts, str),
        keep_default_na=False,
        na_values={column: list(missing) for column in table.columns if column not in texts},
    )
    return table.head, frame


def _split_head(text: str) -> tuple[list[str], str]:
    """The leading ``#`` lines without their mark, and what follows them.

    A spreadsheet that saved the file again has filled these lines with empty fields, and quoted those with a comma.
    """
    head: list[str] = []
    start = 0
    while text.startswith(("#", '"#'), start):
        end = text.find("\n", start) + 1 or len(text)
        line = text[start:end].rstrip("\r\n,")
        if line.startswith('"'):
            line = next(csv.reader([line]))[0]
        head.append(line[1:].strip())
        start = end
    return head, text[start:]


def _numbered_rows(body: str, lines_before: int) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV text, each with the line that it ends on."""
    reader = csv.reader(io.StringIO(body, newline=""))
    for row in reader:
        yield lines_before + reader.line_num, row


# columns of sizes: where all rows share one, it stands in a title
SIZES = ("episodes", "seeds", "tasks", "trajectories")
NOTHING = ("", "-", "n/a")
_FORMULA = re.compile(r"'*[=+\-@\t\r].", re.DOTALL)


def _guarded(field: object) -> object:
    """A text that a spreadsheet would take for a formula, with an apostrophe in front; anything else as it is.

    Texts that have such apostrophes already get one more, so that `_unguarded` gives every text back.
    """
    if not isinstance(field, str) or not _FORMULA.match(field):
        return field
    try:
        float(field)
    except ValueError:
        return f"'{field}"
    return field


def _unguarded(field: str) -> str:
    return field[1:] if field.startswith("'") and _FORMULA.match(field) else field


def write_table(path: str | Path, head: Sequence[str], columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a CSV file atomically. Floats are written with `repr`: equal values are equal bytes.

    Texts that a spreadsheet would run as formulas are guarded; `read_table` gives them back as they were.

    Args:
        head: lines put in front, each marked with ``#``.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        out.writelines(f"# {line}\n" for line in head)
        writer = csv.writer(out, lineterminator="\n")
        # the writer does not see that a lone carriage return would end the row
        quoting = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        for row in chain([columns], rows):
            fields = [_guarded(field) for field in row]
            chosen = quoting if any(isinstance(field, str) and "\r" in field for field in fields) else writer
            chosen.writerow(fields)


def size_in_words(name: str, text: str) -> str:
    """``48 tasks``, ``1 seed``."""
    return f"{text} {name.removesuffix('s') if text == '1' else name}"


def is_numeric(texts: Sequence[str]) -> bool:
    """Whether a column holds numbers and gaps alone."""
    return all(text in NOTHING or _number(text) is not None for text in texts)


def _number(text: str) -> float | None:
    """A finite number; None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def rounded(texts: Sequence[str]) -> list[str]:
    """A column's decimals as people read them: one decimal from 10 on, two from 1 on, else four digits that count.

    A number below 1 is a probability, a correlation or a share: a verdict beside it rests on its third digit.
    """
    decimals = {
        text: number for text in texts if not text.lstrip("-").isdigit() and (number := _number(text)) is not None
    }
    sizes = [abs(number) for number in decimals.values() if number]
    if min(sizes, default=10) >= 1:
        digits = 1 if max(sizes, default=10) >= 10 else 2
        return [f"{decimals[text]:.{digits}f}" if text in decimals else text for text in texts]
    return [_significant(decimals[text]) if text in decimals else text for text in texts]


def _significant(number: float) -> str:
    return f"{number:.4g}" if abs(number) < 1000 else f"{number:.1f}"
