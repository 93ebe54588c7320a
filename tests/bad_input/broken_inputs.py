"""Running `prism` in this process as a person would run it, and sound files to break."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from prism.cli import main

PROMPT = {"style": "compact", "history": "actions:4", "context_length": 512}
EVALUATION = {
    "prompt": PROMPT,
    "max_steps": 2,
    "temperature": 0.0,
    "top_p": 1.0,
    "max_new_tokens": 4,
    "batch_size": 4,
    "workers": 1,
}


@dataclass(frozen=True)
class Answer:
    """What a command said.

    Attributes:
        lines: of standard error.
        written: paths that were not there before.
    """

    code: int
    lines: list[str]
    written: list[str]


def run_prism(folder: Path, *arguments: object) -> Answer:
    """Run a command; `folder` is where it could leave something behind."""
    before = _tree(folder)
    errors = io.StringIO()
    old = sys.argv
    sys.argv = ["prism", *map(str, arguments)]
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = old
    return Answer(code, errors.getvalue().splitlines(), sorted(_tree(folder) - before))


def _tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def step(**changes) -> dict:
    return {"observation": "You see a desk.", "admissible": ["look"], "thought": "t", "action": "look"} | changes


def trajectory(**changes) -> dict:
    record = {
        "id": "a",
        "benchmark": "alfworld",
        "game": "train/a/game.tw-pddl",
        "task": "put a mug on the desk.",
        "task_type": "pick",
        "expert": "handcoded",
        "success": True,
        "steps": [step()],
    }
    return record | changes


def chat(**changes) -> dict:
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "look"}]
    return {"id": "a", "messages": turns} | changes


def jsonl(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def norms_file(path: Path, numbers: list[int], shard: int, shards: int, broken: tuple[int, float] | None) -> Path:
    """A parquet file as `prism probe` writes it, for trajectories t-000, t-001 and so on."""
    names = [f"layers.0.{module}" for module in ("q_proj", "k_proj")]
    columns = {
        "id": [f"t-{number:03d}" for number in numbers],
        "loss": [1.0 for _ in numbers],
        **{column: [1 for _ in numbers] for column in ("response_tokens", "rows", "truncated")},
    }
    for name in names:
        columns[name] = [broken[1] if broken and broken[0] == number else 1.0 + number for number in numbers]
    facts = dict.fromkeys(("model", "model_sha256", "data", "data_sha256", "prompt_sha256"), "x")
    facts |= {"dtype": "float32", "shard": str(shard), "shards": str(shards), "parameter_counts": "[4, 4]"}
    pq.write_table(pa.table(columns).replace_schema_metadata(facts), path)
    return path
