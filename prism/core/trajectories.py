"""Expert trajectories: the corpus that PRISM scores and routes.

One JSON object a line::

    {"id": "...", "benchmark": "alfworld", "game": "train/pick_...", "task": "put a mug on the desk.",
     "task_type": "pick", "expert": "handcoded", "success": true,
     "steps": [{"observation": "...", "admissible": ["go to desk 1", ...],
                "thought": "...", "action": "go to desk 1"}, ...]}

A step with ``"demonstrated": false`` was executed but is not imitated: it stays in the history of
later prompts and carries no loss (an inserted failed action, so that recovery is seen).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import read_jsonl, write_jsonl

# ids stand in CSV files and in messages of one line
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
REMEDY = "mend the line, or rebuild the file with its rule"


@dataclass(frozen=True)
class Step:
    """One environment step: what the agent saw, what it could do, what the expert did and why."""

    observation: str
    admissible: tuple[str, ...]
    thought: str
    action: str
    demonstrated: bool = True


@dataclass(frozen=True)
class Trajectory:
    """One expert episode. `id` is unique in its corpus, `game` locates the task in the data folder."""

    id: str
    benchmark: str
    game: str
    task: str
    task_type: str
    expert: str
    success: bool
    steps: tuple[Step, ...]


def read_trajectories(path: str | Path) -> list[Trajectory]:
    """Read and check a corpus.

    Raises:
        BadInput: names file and line of a broken record, a repeated id, or an empty file.
    """
    corpus: list[Trajectory] = []
    lines: dict[str, int] = {}
    for number, record in read_jsonl(path):
        trajectory = _parse(f"{path}:{number}", record)
        if trajectory.id in lines:
            raise BadInput(
                f"{path}:{number}", f"repeats id {trajectory.id!r} of line {lines[trajectory.id]}", "make ids unique"
            )
        lines[trajectory.id] = number
        corpus.append(trajectory)
    if not corpus:
        raise BadInput(path, "holds no trajectory", "rebuild the file with its rule")
    return corpus


def write_trajectories(path: str | Path, corpus: Iterable[Trajectory]) -> None:
    """Write a corpus, atomically; equal corpora are equal bytes."""
    write_jsonl(path, (asdict(trajectory) for trajectory in corpus))


def _parse(place: str, record: dict) -> Trajectory:
    for key in ("id", "benchmark", "game", "task", "task_type", "expert"):
        if not isinstance(record.get(key), str) or not record[key]:
            raise BadInput(place, f"{key!r} is missing or not a text", REMEDY)
    if _CONTROL.search(record["id"]):
        raise BadInput(place, "'id' holds a line break or another control character", REMEDY)
    if not isinstance(record.get("success"), bool):
        raise BadInput(place, "'success' is missing or not true/false", REMEDY)
    steps = record.get("steps")
    if not isinstance(steps, list) or not steps:
        raise BadInput(place, "'steps' is missing or empty", REMEDY)
    known = {"id", "benchmark", "game", "task", "task_type", "expert", "success", "steps"}
    if unknown := sorted(set(record) - known):
        raise BadInput(place, f"unknown key {unknown[0]!r}", REMEDY)
    parsed = tuple(_parse_step(f"{place} step {index}", step) for index, step in enumerate(steps))
    if not any(step.demonstrated for step in parsed):
        raise BadInput(place, "no step is demonstrated", REMEDY)
    return Trajectory(**{key: record[key] for key in known - {"steps"}}, steps=parsed)


def _parse_step(place: str, step: object) -> Step:
    if not isinstance(step, dict):
        raise BadInput(place, "is not an object", REMEDY)
    for key in ("observation", "thought", "action"):
        if not isinstance(step.get(key), str):
            raise BadInput(place, f"{key!r} is missing or not a text", REMEDY)
    if not step["action"].strip():
        raise BadInput(place, "'action' is empty", REMEDY)
    admissible = step.get("admissible")
    if not isinstance(admissible, list) or not all(isinstance(action, str) for action in admissible):
        raise BadInput(place, "'admissible' is not a list of texts", REMEDY)
    demonstrated = step.get("demonstrated", True)
    if not isinstance(demonstrated, bool):
        raise BadInput(place, "'demonstrated' is not true/false", REMEDY)
    return Step(step["observation"], tuple(admissible), step["thought"], step["action"], demonstrated)
