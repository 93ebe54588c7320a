"""The one reader of records: JSON lines, JSON arrays, single JSON documents, parquet and arrow, one record at a time.

Memory stays flat: of a file no more is held than a record, a block of text or a batch of rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from prism.core.errors import BadInput, first_line
from prism.core.files import UNREADABLE_JSON, open_text, read_jsonl, require_writable

BLOCK_CHARACTERS = 1 << 16
ROWS_PER_BATCH = 64
# an error this close to the end of what was read may be gone once more is read
_NEAR_END = 16
# magic numbers of what people name by mistake
_PACKED = {
    b"PK\x03\x04": "a zip file",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
}

# number or name of the record, its place for errors, and itself
Record = tuple[int | str, str, dict[str, Any]]


def read_records(path: str | Path) -> Iterator[Record]:
    """Yield ``(number, place, record)`` of a file; its content tells what it is, not its name.

    JSON may be gzipped, with or without a byte order mark, with any line ends.

    Args:
        path: the number is that of the line in a file of JSON lines, else that of the record; the place names it.

    Raises:
        BadInput: the file is missing, damaged or of another kind, or a record is not a JSON object.
    """
    path = Path(path)
    magic = _first_bytes(path)
    for start, what in _PACKED.items():
        if magic.startswith(start):
            raise BadInput(path, f"is {what}", "unpack it, or compress it with gzip")
    if path.suffix in (".csv", ".tsv") and not magic.lstrip().startswith((b"{", b"[")):
        remedy = "write it as parquet or JSON lines: pandas.read_csv(...).to_parquet(...)"
        raise BadInput(path, "is a table of texts, which holds no lists of messages", remedy)
    if magic.startswith(b"PAR1"):
        return _read_parquet(path)
    if magic.startswith(b"ARROW1") or path.suffix == ".arrow":
        return _read_arrow(path, stream=not magic.startswith(b"ARROW1"))
    return _read_json(path)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise BadInput(path, f"cannot be read ({error.strerror})", "check the path") from error


def _read_json(path: Path) -> Iterator[Record]:
    with open_text(path, errors="replace") as text:
        start = text.read(BLOCK_CHARACTERS).lstrip()
        array = start.startswith("[")
        documents = not array and start.startswith("{") and _breaks_off(start, text)
    if array or documents:
        with _json_errors(path), open_text(path) as text:
            yield from _read_documents(_Documents(text, path), path, array)
        return
    for number, record in read_jsonl(path):
        yield number, f"{path}:{number}", record


def _breaks_off(start: str, text: TextIO) -> bool:
    """Whether the first line is no whole JSON value, but the beginning of one."""
    line = start.partition("\n")[0]
    if "\n" not in start:
        line += text.readline()
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return _cut_off(error, len(line.rstrip()))
    except (RecursionError, ValueError):
        return False
    return False


def _cut_off(error: json.JSONDecodeError, length: int) -> bool:
    """Whether an error may come from text that ends too early."""
    return error.msg.startswith("Unterminated string") or error.pos > length - _NEAR_END


class _Documents:
    """JSON values in a text, one after the other; of the text only a block and the current value are held."""

    def __init__(self, text: TextIO, path: Path):
        self.text, self.path = text, path
        self.buffer, self.position, self.lines = "", 0, 0
        self.ended = False

    def _more(self, characters: int) -> None:
        self.lines += self.buffer.count("\n", 0, self.position)
        self.buffer, self.position = self.buffer[self.position :], 0
        block = self.text.read(characters)
        self.ended = not block
        self.buffer += block

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self.position < len(self.buffer) and self.buffer[self.position] in " \t\r\n":
                self.position += 1
            if self.position < len(self.buffer) or self.ended:
                return self.buffer[self.position : self.position + 1]
            self._more(BLOCK_CHARACTERS)

    def skip(self) -> None:
        """Go on behind the next character."""
        self.position += 1

    def value(self) -> tuple[Any, str]:
        """The next value, and its text."""
        block = BLOCK_CHARACTERS
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self.buffer, self.position)
            except json.JSONDecodeError as error:
                if self.ended or not _cut_off(error, len(self.buffer)):
                    raise self.error(error.msg, error.pos) from error
                # twice as much each time: a value of many blocks is not parsed once for each of them
                self._more(block)
                block *= 2
            else:
                text, self.position = self.buffer[self.position : end], end
                return value, text

    def error(self, problem: str, position: int | None = None) -> BadInput:
        """The error for what stands at a position of the buffer."""
        line = self.lines + 1 + self.buffer.count("\n", 0, self.position if position is None else position)
        return BadInput(f"{self.path}:{line}", f"is not valid JSON ({problem})", "mend the file")


def _read_documents(documents: _Documents, path: Path, array: bool) -> Iterator[Record]:
    if documents.peek() == "[" and array:
        documents.skip()
    number = 0
    while (character := documents.peek()) not in ("", "]"):
        if array and number:
            if character != ",":
                raise documents.error("Expecting ',' delimiter")
            documents.skip()
            documents.peek()
        number += 1
        place = f"{path} record {number}"
        value, text = documents.value()
        require_writable(value, text, place)
        if not isinstance(value, dict):
            raise BadInput(place, "is not a JSON object", "write an array of objects")
        yield number, place, value
    if array:
        if not documents.peek():
            raise documents.error("the array has no end")
        documents.skip()
    if documents.peek():
        raise documents.error("Extra data")


@contextmanager
def _json_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise BadInput(path, "is not UTF-8", "convert the file to UTF-8") from error
    except (RecursionError, ValueError) as error:
        raise BadInput(path, UNREADABLE_JSON, "mend the file") from error


def _read_parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield from _rows(file.iter_batches(ROWS_PER_BATCH), path)
    except (pa.ArrowException, OSError) as error:
        problem = f"is a damaged parquet file ({first_line(error)})"
        raise BadInput(path, problem, "make or download it again") from error


def _read_arrow(path: Path, stream: bool) -> Iterator[Record]:
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_stream(source) if stream else pa.ipc.open_file(source)
            batches = reader if stream else map(reader.get_batch, range(reader.num_record_batches))
            parts = (
                batch.slice(start, ROWS_PER_BATCH)
                for batch in batches
                for start in range(0, batch.num_rows, ROWS_PER_BATCH)
            )
            yield from _rows(parts, path)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(path, f"is a damaged arrow file ({first_line(error)})", "make or download it again") from error


def _rows(batches: Iterator[Any], path: Path) -> Iterator[Record]:
    number = 0
    for batch in batches:
        for row in batch.to_pylist():
            number += 1
            yield number, f"{path} record {number}", drop_nulls(row)


def drop_nulls(value: Any) -> Any:
    """A value of a table without the nulls in its structures: every row has the keys of all rows."""
    if isinstance(value, dict):
        return {key: drop_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [drop_nulls(inner) for inner in value]
    return value
