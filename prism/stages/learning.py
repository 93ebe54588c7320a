"""Does training help? Success on fixed held-out panels before and after SFT and RL, and at RL's checkpoints between."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from prism.core.errors import BadInput
from prism.core.files import atomic_folder, atomic_path, read_json
from prism.core.model_folder import assemble_model
from prism.core.progress import say
from prism.core.statistics import wilson_rate
from prism.stages.evaluate import EvaluationRecipe, evaluate
from prism.stages.tables import scale_note

ALL_PANELS = "all"
PHASES = ("base", "sft", "sft-then-rl")
"""The methods that are compared, each with the one before it."""


@dataclass(frozen=True)
class Played:
    """One evaluation: which tasks a model solved.

    Attributes:
        solved: task id (with its panel) -> solved.
    """

    phase: str
    seed: int
    panel: str
    solved: Mapping[str, bool]


def evaluate_checkpoints(
    run_dir: Path,
    work_dir: Path,
    games_dir: Path,
    panel_path: Path,
    out_dir: Path,
    recipe: EvaluationRecipe,
    seed: int,
) -> None:
    """Evaluate every checkpoint that an RL run kept: one ``step-{number}.json`` each.

    The last one is the run's own model, and its evaluation that of the method.

    Args:
        run_dir: folder of the RL stage; config and tokenizer come from there.
        work_dir: the run's work folder (``prism stage rl --work``).

    Raises:
        BadInput: the folder holds no checkpoint.
    """
    checkpoints = sorted((Path(work_dir) / "checkpoints").glob("global_step_*/actor/huggingface"), key=_training_step)
    if not checkpoints:
        raise BadInput(work_dir, "holds no checkpoint", "give the work folder of a finished RL run, or train it again")
    with atomic_folder(out_dir) as folder:
        for checkpoint in checkpoints:
            say(f"checkpoint of step {_training_step(checkpoint)}")
            out = folder / f"step-{_training_step(checkpoint):06d}.json"
            with tempfile.TemporaryDirectory() as model:
                assemble_model(checkpoint, run_dir, Path(model))
                evaluate(model, games_dir, panel_path, out, recipe, seed)


def _training_step(checkpoint: Path) -> int:
    return int(checkpoint.parents[1].name.removeprefix("global_step_"))


def write_learning_table(evaluations: Sequence[Path], scale: str, out_csv: Path) -> None:
    """Write success rates by panel, phase and seed, with Wilson intervals and paired tests against the phase before.

    Args:
        evaluations: files of `prism.stages.evaluate`, laid out as ``{method}/seed{seed}/{panel}.json``.

    Raises:
        BadInput: two phases did not play the same tasks.
    """
    played = [read_played(path) for path in evaluations]
    rows = learning_rows(played)
    with atomic_path(out_csv) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        out.write(f"# Does training help? Success rate in percent on fixed held-out panels. {scale_note(scale)}\n")
        rows.to_csv(out, index=False, float_format="%.4g", lineterminator="\n")
    for row in rows[rows["panel"] == ALL_PANELS].itertuples():
        interval = f"[{row.low:.1f}, {row.high:.1f}]"
        say(f"{row.phase}, seed {row.seed}: {row.solved}/{row.episodes} = {row.rate:.1f} % {interval}")


def read_played(path: Path) -> Played:
    """Read one evaluation file; phase, seed and panel come from where it lies."""
    record = read_json(path)
    panel = record["panel"]
    solved = {f"{panel}/{episode['task_id']}": bool(episode["success"]) for episode in record["episodes"]}
    return Played(path.parents[1].name, int(path.parent.name.removeprefix("seed")), panel, solved)


def learning_rows(played: Sequence[Played]) -> pd.DataFrame:
    """One row a (panel, seed, phase); panel ``all`` pools the panels of a seed."""
    cells: dict[tuple[str, int, str], dict[str, bool]] = {}
    for one in played:
        for panel in (one.panel, ALL_PANELS):
            cells.setdefault((panel, one.seed, one.phase), {}).update(one.solved)
    panels = list(dict.fromkeys(panel for panel, _, _ in cells if panel != ALL_PANELS))
    rows = []
    for panel in [*panels, ALL_PANELS]:
        for seed in sorted({seed for _, seed, _ in cells}):
            before: dict[str, bool] | None = None
            for phase in PHASES:
                now = cells[(panel, seed, phase)]
                rows.append({"panel": panel, "seed": seed, "phase": phase, **_rate(now), **_paired(before, now)})
                before = now
    return pd.DataFrame(rows)


def _rate(solved: Mapping[str, bool]) -> dict[str, Any]:
    rate = wilson_rate(sum(solved.values()), len(solved))
    return {
        "solved": sum(solved.values()),
        "episodes": rate.episodes,
        "rate": rate.value,
        "low": rate.low,
        "high": rate.high,
    }


def _paired(before: Mapping[str, bool] | None, now: Mapping[str, bool]) -> dict[str, Any]:
    """Tasks that were won and lost against the phase before, and McNemar's exact two-sided p-value."""
    if before is None:
        return {"won": None, "lost": None, "p_value": None}
    if before.keys() != now.keys():
        raise BadInput("panels", "two phases played different tasks", "evaluate them on the same panel again")
    won = sum(now[task] and not before[task] for task in now)
    lost = sum(before[task] and not now[task] for task in now)
    return {"won": won, "lost": lost, "p_value": mcnemar_exact(won, lost)}


def mcnemar_exact(won: int, lost: int) -> float:
    """McNemar's exact two-sided test: are discordant pairs equally likely to go either way?"""
    return binomtest(won, won + lost, 0.5).pvalue if won + lost else 1.0
