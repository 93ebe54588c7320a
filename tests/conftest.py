"""Shared fixtures. Nothing here needs a network, a GPU or a finished demo."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: of workers that share files, none begins a long one when all else is done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def copy_repository(root) -> Callable[[Path], Path]:
    """Copy the tracked files, as they are now, into a folder that is not there yet; a third party gets no more."""

    def copy(folder: Path) -> Path:
        folder.mkdir(parents=True)
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
        names = [name for name in tracked.decode().split("\0") if name and (root / name).is_file()]
        subprocess.run(["cp", "--parents", "--preserve=timestamps,mode", *names, folder], cwd=root, check=True)
        return folder

    return copy
