"""Cells: every number of a table as a file of its own, with what it was computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_file, write_json
from prism.core.progress import say
from prism.core.statistics import CONFIDENCE, wilson_rate
from prism.core.tablenames import TABLE1_COLUMNS


@dataclass(frozen=True)
class CellContext:
    """What the cells of one row share.

    Attributes:
        split: panel that the row is about (``seen``, ``unseen``).
        sft, rl: percent of the corpus that each phase saw, ``-`` for none.
        scale: scale of the run; the paper's value stands beside it and is never mixed in.
    """

    split: str
    method: str
    backbone: str
    sft: str
    rl: str
    scale: str


def write_table1_row(context: CellContext, evaluations: Sequence[Path], paper_table: Path, out_dir: Path) -> None:
    """Write ``{out_dir}/{column}.json`` for the columns of one row of Table 1.

    Args:
        evaluations: one evaluation file per seed, all on the row's panel.

    Raises:
        BadInput: an evaluation is on another panel than the rest, or not an evaluation.
    """
    runs = [_read_evaluation(path) for path in evaluations]
    panels = {run["panel_sha256"] for run in runs}
    if len(panels) > 1:
        raise BadInput(evaluations[-1], "was run on another panel than the other seeds", "rebuild the evaluations")
    paper = _paper_row(paper_table, context.split, context.method)
    sources = [{"path": str(path), "sha256": sha256_file(path)} for path in evaluations]
    for column in TABLE1_COLUMNS:
        outcomes = {run["seed"]: _outcomes(run, column) for run in runs}
        pooled = [success for seed in sorted(outcomes) for success in outcomes[seed]]
        cell = {
            "table": "table1",
            "row": {"split": context.split, "method": context.method},
            "column": column,
            "unit": "success rate, percent",
            "scale": context.scale,
            "backbone": context.backbone,
            "sft": context.sft,
            "rl": context.rl,
            **_estimate(pooled),
            "seeds": {str(seed): _estimate(outcomes[seed]) for seed in sorted(outcomes)},
            "evaluations": sources,
            "panel_sha256": panels.copy().pop(),
            "paper": {"value": None if paper is None else paper[column], "source": "arXiv 2601.07224, Table 1"},
        }
        write_json(Path(out_dir) / f"{column}.json", cell)
    say(f"{context.split} {context.method}: {cell['value']:.1f}% of {cell['episodes']} episodes")


def _estimate(outcomes: Sequence[bool]) -> dict:
    """Value, interval and number of episodes; a panel without this task type has no value."""
    if not outcomes:
        return {"value": None, "interval": None, "episodes": 0}
    rate = wilson_rate(sum(outcomes), len(outcomes))
    interval = {"low": rate.low, "high": rate.high, "level": CONFIDENCE, "method": "Wilson score"}
    return {"value": rate.value, "interval": interval, "episodes": rate.episodes}


def _outcomes(run: dict, column: str) -> list[bool]:
    return [episode["success"] for episode in run["episodes"] if column in ("all", episode["task_type"])]


def _read_evaluation(path: Path) -> dict:
    run = read_json(path)
    try:
        complete = bool(run["panel_sha256"]) and isinstance(run["seed"], int)
        complete = complete and all(isinstance(episode["success"], bool) for episode in run["episodes"])
    except (KeyError, TypeError):
        complete = False
    if not complete or not run["episodes"]:
        raise BadInput(path, "is not an evaluation", "rebuild it with its rule")
    return run


def _paper_row(paper_table: Path, split: str, method: str) -> dict | None:
    table = pd.read_csv(paper_table, comment="#")
    row = table[(table["split"] == split) & (table["method"] == method)]
    return None if row.empty else row.iloc[0].to_dict()
