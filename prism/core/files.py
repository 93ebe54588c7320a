"""Reading and writing: outputs appear whole or not at all, bad input is named by file and line."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from prism.core.errors import BadInput

CHUNK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
UNREADABLE_JSON = "is JSON that is nested too deep, or holds a number that is too long"


# lies in every folder that a stage made: only such a folder is ever replaced
FOLDER_MARK = ".made-by-prism"


def check_file_output(path: str | Path) -> None:
    """Refuse a place where a file would take the place of a folder or a device.

    Raises:
        BadInput: a folder, a device or a pipe has this name.
    """
    if Path(path).is_dir():
        raise BadInput(path, "is a folder", "name a file in it")
    if Path(path).exists() and not Path(path).is_file():
        raise BadInput(path, "is no ordinary file", "name another file")


def check_folder_output(path: str | Path) -> None:
    """Refuse a place where a new folder would take the place of what the project did not make.

    Raises:
        BadInput: the folder is not empty and lacks our mark, is a repository, or holds the working or home folder.
    """
    folder = Path(path).resolve()
    if folder.exists() and not folder.is_dir():
        raise BadInput(path, "is a file", "name a folder")
    for what, kept in (("working", Path.cwd()), ("home", Path(os.path.expanduser("~")).resolve())):
        if folder == kept or folder in kept.parents:
            raise BadInput(path, f"is or holds the {what} folder", "name a new folder")
    if (folder / ".git").exists():
        raise BadInput(path, "is a repository", "name a new folder")
    if folder.is_dir() and not (folder / FOLDER_MARK).is_file() and any(folder.iterdir()):
        raise BadInput(path, "holds files that prism did not make", "name a new folder, or remove this one yourself")


def check_apart(out: str | Path, source: str | Path) -> None:
    """Refuse an output that is an input, or a folder that would be replaced with the input in it.

    Raises:
        BadInput: names the output.
    """
    target, given = Path(out).resolve(), Path(source).resolve()
    if target == given:
        raise BadInput(out, "is also an input", "name another output")
    if target in given.parents:
        raise BadInput(out, f"holds the input {source}", "name an output of its own")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of the file `path` that takes its name on success.

    On an exception the temporary is removed and `path` stays as it was.

    Raises:
        BadInput: `path` is a folder or a device.
    """
    check_file_output(path)
    with _replacing(Path(path)) as temporary:
        yield temporary


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary sibling of the folder `path` that takes its name on success, as `atomic_path` does.

    A folder of this name is replaced as a whole; the new one carries the mark by which the next call knows it.

    Raises:
        BadInput: what is there is not the project's own (`check_folder_output`).
    """
    check_folder_output(path)
    folder = Path(path).resolve()
    with _replacing(folder) as temporary:
        temporary.mkdir()
        yield temporary
        (temporary / FOLDER_MARK).write_text("Made by prism, which replaces this folder as a whole.\n")
        if folder.is_dir():
            shutil.rmtree(folder)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # same suffixes as the target: writers such as pyarrow and matplotlib look at them
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically: sorted keys, two-space indent, no NaN, so that equal values are equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: str | Path, records: Iterable[dict]) -> None:
    """Write one JSON object a line, atomically; key order is kept."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        for record in records:
            out.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        BadInput: the file is missing or not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadInput(path, f"cannot be read ({error.strerror})", "check the path") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", 1)
        raise BadInput(f"{path}:{line}", "is not valid JSON", "mend or rebuild the file") from error
    except (RecursionError, ValueError) as error:
        raise BadInput(path, UNREADABLE_JSON, "mend or rebuild the file") from error


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict]]:
    """Yield ``(line number, object)`` of a JSONL file, gzipped or not; empty lines are skipped.

    Raises:
        BadInput: the file is missing or damaged, or a line is not a JSON object.
    """
    path = Path(path)
    number, line = 0, ""
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                record = json.loads(line)
                require_writable(record, line, f"{path}:{number}")
                if not isinstance(record, dict):
                    raise BadInput(f"{path}:{number}", "is not a JSON object", "write one object a line")
                yield number, record
    except json.JSONDecodeError as error:
        remedy = "mend or delete the line"
        if number == 1 and line.startswith(("[", "{")):
            remedy = "write one object a line: `jq -c .` does it, `jq -c '.[]'` for an array"
        raise BadInput(f"{path}:{number}", f"is not valid JSON ({error.msg})", remedy) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}:{number + 1}", "is not UTF-8", "convert the file to UTF-8") from error
    except (RecursionError, ValueError) as error:
        raise BadInput(f"{path}:{number}", UNREADABLE_JSON, "mend or delete the line") from error


@contextmanager
def open_text(path: Path, errors: str = "strict") -> Iterator[TextIO]:
    """Open a UTF-8 text, with or without a byte order mark, gzipped or not.

    Raises:
        BadInput: it cannot be read, or its gzip data are damaged.
    """
    try:
        with path.open("rb") as source:
            zipped = source.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        opened = gzip.open if zipped else open
        with opened(path, "rt", encoding="utf-8-sig", errors=errors) as text:
            yield text
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(path, "is a damaged gzip file", "make or download it again") from error
    except OSError as error:
        raise BadInput(path, f"cannot be read ({error.strerror})", "check the path") from error


def require_writable(record: Any, line: str, place: str) -> None:
    """A lone surrogate may be escaped in JSON, but is no text: it can be neither tokenized nor written."""
    if "\\ud" in line.lower():
        try:
            json.dumps(record, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise BadInput(place, "holds half of a surrogate pair", "write the character out in UTF-8") from error


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
