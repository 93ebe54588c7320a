"""Stage: the data folder of a benchmark, which holds its games."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prism.environments import load_data


def make_catalog(benchmark: str, out_dir: Path, recipe: Any) -> None:
    """Generate the files that a benchmark's games are made from; equal recipes give equal bytes."""
    load_data(benchmark).make_catalog(out_dir, recipe)


def make_games(benchmark: str, files: Path | None, out_dir: Path, recipe: Any) -> None:
    """Make the data folder of a benchmark, from files or generated; equal recipes give equal bytes.

    Raises:
        BadInput: the files cannot be used, or the recipe leaves too few games.
    """
    load_data(benchmark).make_games(files, out_dir, recipe)
