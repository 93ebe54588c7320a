"""What the parts share: where they work, what they have found so far, how they start a command of the product."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from prism.core.files import write_json


class Skip(Exception):
    """A part cannot run here, for the reason given."""


class Unsound(Exception):
    """A part ran to its end, and what it found is wrong."""


@dataclass(frozen=True)
class Place:
    """Where a part works.

    Attributes:
        folder: holds what ``inputs`` made; a part writes below it.
        cpu: tiny shapes in float32, and the samplers of the demo.
        card_gib: memory of the card; 0 without one.
        python: interpreter of each environment, ``rl`` and ``sft``.
    """

    folder: Path
    cpu: bool
    card_gib: float
    python: dict[str, str]

    @property
    def corpus(self) -> Path:
        """Trajectories of the expert on a few generated games."""
        return self.folder / "trajectories.jsonl"

    @property
    def games(self) -> Path:
        """The generated games."""
        return self.folder / "games"

    @property
    def model(self) -> Path:
        """A model of a real shape with random weights."""
        return self.folder / "model"

    def panel(self, split: str) -> Path:
        """Tasks to train on (``train``) or to evaluate (``seen``)."""
        return self.folder / f"{split}.json"


class Found(dict[str, Any]):
    """What a part has measured, by name: each value is written at once, so that a part that is cut off leaves it."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self.write("running")

    def write(self, state: str, why: str = "") -> None:
        """Write everything, with how the part stands."""
        write_json(self.path, {"state": state, "why": why, "measured": dict(self)})


def require(packages: Iterable[str]) -> None:
    """Leave a part out where a package is missing.

    Raises:
        Skip: names those that are.
    """
    if missing := [name for name in packages if not find_spec(name)]:
        raise Skip(f"not in this environment: {', '.join(missing)}")


def gpu_benchmark() -> ModuleType:
    """`benchmarks/probe_gpu.py`, with its shapes and its comparison.

    The folder's other scripts have names of packages (``alfworld``): it comes last on the path, and late.
    """
    sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    return importlib.import_module("probe_gpu")


def prism(*arguments: str | Path) -> None:
    """Run one command of the product; its output is the part's.

    Raises:
        RuntimeError: it failed.
    """
    words = [str(word) for word in arguments]
    print("$ prism", *words, flush=True)
    status = subprocess.run([sys.executable, "-m", "prism", *words], check=False).returncode
    if status != 0:
        raise RuntimeError(f"prism {' '.join(words[:2])} ended with status {status}")
