"""Options that name outputs, and the check that no command writes over what it must not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path, PosixPath
from typing import Any

from typer import Context
from typer.core import TyperCommand

from prism.core.errors import BadInput
from prism.core.files import check_apart, check_file_output, check_folder_output

# inputs that a command adds to: its output may be a file of theirs that it wrote before
RUN_FOLDERS = ("results", "folder", "workflow", "work")


class Output(PosixPath):
    """A path that the command will write."""


class ModelName(str):
    """A model's folder, or the id of one on the Hub."""

    __slots__ = ()


def _checked(check: Callable[[Path], None], text: str) -> Output:
    if not text:
        raise BadInput("an output's name", "is empty", "name a file or folder")
    check(Path(text))
    return Output(text)


def output_file(text: str) -> Output:
    """Parser of an option that names a file to write; refused before time is spent where it may not be written."""
    return _checked(check_file_output, text)


def output_folder(text: str) -> Output:
    """Parser of an option that names a folder to write; refused before time is spent where it may not be replaced."""
    return _checked(check_folder_output, text)


class CheckedCommand(TyperCommand):
    """A command whose outputs are neither its inputs nor each other, nor would take an input away with them."""

    def invoke(self, ctx: Context) -> Any:
        """Run the command once its paths are seen to be apart."""
        paths = list(_paths(ctx.params))
        outputs = [path for _, path in paths if isinstance(path, Output)]
        for first, second in combinations(outputs, 2):
            if first.resolve() == second.resolve():
                raise BadInput(first, "is named for two outputs", "give each a name of its own")
        for out in outputs:
            for name, source in paths:
                if not isinstance(source, Output):
                    _check_apart(out, source, name)
        return super().invoke(ctx)


def _paths(arguments: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Every path among a command's arguments, with the argument's name."""
    for name, value in arguments.items():
        for argument in value if isinstance(value, list | tuple) else (value,):
            if isinstance(argument, Path | ModelName):
                yield name, Path(argument) if isinstance(argument, ModelName) else argument


def _check_apart(out: Path, source: Path, name: str) -> None:
    check_apart(out, source)
    if source.resolve() in out.resolve().parents and out.exists() and name not in RUN_FOLDERS:
        raise BadInput(out, f"is a file of the input {source}", "name another output")
