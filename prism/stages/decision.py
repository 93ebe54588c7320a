"""What a run decides: its protocol's questions and checks, each by one paired test over all panels and seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.core.comparisons import ALPHA, Comparison, compare, holm
from prism.core.csv_files import write_table
from prism.core.decisions import Check, DecisionRecipe, Question
from prism.core.errors import BadInput
from prism.core.evaluations import Evaluation, read_seeds, value_matrix
from prism.core.files import write_text
from prism.core.paper_tables import success_of
from prism.core.progress import say
from prism.core.results import Results
from prism.stages.markdown import markdown_table
from prism.stages.tables.notes import scale_note

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
MET, NOT_MET, INTERIM = "met", "not met", "interim"
COLUMNS = (
    *("kind", "name", "method", "reference", "tasks", "seeds", "method_rate", "reference_rate", "difference", "low"),
    *("high", "better", "worse", "test", "p", "p_holm", "detectable", "asked", "verdict"),
)
HEADINGS = {
    **{"name": "question", "method": "method", "reference": "reference", "rates": "success, %"},
    **{"difference": "difference, points", "p": "p", "p_holm": "p (Holm)", "detectable": "detectable, points"},
    **{"asked": "asked, points", "verdict": "verdict"},
}


def write_decision(
    recipe: DecisionRecipe, evaluations: Iterable[Path], scale: str, out_csv: str | Path, out_md: str | Path
) -> None:
    """Write a row a question and a row a check, as CSV and as Markdown.

    Args:
        evaluations: of every method that is asked about, one a seed and panel; where each lies says of which method.

    Raises:
        BadInput: a method has no evaluation, or two were not evaluated on the same panels with the same seeds.
    """
    values = success_by_method(evaluations)
    seeds = {matrix.shape[0] for matrix in values.values()}
    read = seeds == {recipe.seeds}
    rows = [*_questions(recipe, values, read), *(_check(one, values, read) for one in recipe.checks)]
    head = [f"What this run decides, in points of percent. {scale_note(scale)}", *_notes(recipe, seeds, read)]
    write_table(out_csv, head, COLUMNS, [[_text(row[name]) for name in COLUMNS] for row in rows])
    write_text(out_md, _page(rows, head))
    say("; ".join(f"{row['name']}: {row['verdict']}" for row in rows))


def verdict(difference: float, high: float, p: float, margin: float) -> str:
    """What is said of a question.

    Args:
        difference, high: of method and reference, and the upper end of its 95% interval.
        p: corrected for all questions.
        margin: a gain that would matter, in the unit of the difference.
    """
    gains, excluded = difference > 0 and p < ALPHA, high < margin
    if gains:
        return f"{SUPPORTED}, below the margin" if excluded else SUPPORTED
    return NOT_SUPPORTED if excluded else UNDECIDED


def success_by_method(evaluations: Iterable[Path]) -> dict[str, np.ndarray]:
    """Success of every method on the tasks of all panels side by side, shape (seeds, tasks).

    Raises:
        BadInput: methods that were not evaluated on the same panels with the same seeds.
    """
    paths: dict[str, dict[str, list[Path]]] = {}
    for path in evaluations:
        played = Results.played(path)
        paths.setdefault(played.method, {}).setdefault(played.panel, []).append(path)
    runs = {method: [read_seeds(by_panel[panel]) for panel in sorted(by_panel)] for method, by_panel in paths.items()}
    first, *others = runs
    for method in others:
        if _played(runs[method]) != _played(runs[first]):
            problem = f"was not evaluated on the panels and seeds of {first}"
            raise BadInput(paths[method].popitem()[1][0], problem, "rebuild the evaluations with their rule")
    return {method: _pooled(panels) for method, panels in runs.items()}


def _played(panels: Sequence[Sequence[Evaluation]]) -> list[tuple[str, list[int]]]:
    return [(seeds[0].panel_sha256, [run.seed for run in seeds]) for seeds in panels]


def _pooled(panels: Sequence[Sequence[Evaluation]]) -> np.ndarray:
    return np.concatenate([value_matrix(seeds, success_of(seeds[0].benchmark)) for seeds in panels], axis=1)


def _questions(recipe: DecisionRecipe, values: Mapping[str, np.ndarray], read: bool) -> list[dict[str, Any]]:
    rows = [_question(one, values) for one in recipe.questions]
    for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = corrected
        row["verdict"] = verdict(row["difference"], row["high"], corrected, recipe.margin / 100) if read else INTERIM
    return rows


def _question(question: Question, values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Against several references: the smallest difference, and the largest p value of all."""
    found = {name: _compare(values, question.method, name) for name in question.references}
    nearest = min(found, key=lambda name: found[name].difference)
    row = _row("question", question.name, question.method, nearest, values, found[nearest])
    return row | {"p": max(comparison.p for comparison in found.values())}


def _check(check: Check, values: Mapping[str, np.ndarray], read: bool) -> dict[str, Any]:
    found = _compare(values, check.method, check.reference)
    met = found.difference >= check.points / 100 and found.difference > 0 and found.p < check.alpha
    row = _row("check", check.name, check.method, check.reference, values, found)
    return row | {"asked": check.points / 100, "verdict": (MET if met else NOT_MET) if read else INTERIM}


def _compare(values: Mapping[str, np.ndarray], method: str, reference: str) -> Comparison:
    for name in (method, reference):
        if name not in values:
            raise BadInput("evaluations", f"there is none of {name!r}", "give all methods that are asked about")
    return compare(values[method], values[reference])


def _row(
    kind: str, name: str, method: str, reference: str, values: Mapping[str, np.ndarray], found: Comparison
) -> dict[str, Any]:
    seeds, tasks = values[method].shape
    rates = {"method_rate": float(values[method].mean()), "reference_rate": float(values[reference].mean())}
    named = {"kind": kind, "name": name, "method": method, "reference": reference, "tasks": tasks, "seeds": seeds}
    return {**named, **rates, **asdict(found), "p_holm": None, "asked": None, "verdict": ""}


def _text(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else value


def _notes(recipe: DecisionRecipe, seeds: set[int], read: bool) -> list[str]:
    notes = [
        "tasks of all panels pooled; question: Holm over the questions; check: beforehand, uncorrected",
        f"{recipe.margin:g} points are a gain that would matter; detectable: smallest true difference that this test "
        "finds with power 0.8, given the spread seen; asked: by how much a check's method has to be ahead",
    ]
    if read:
        return notes
    return [*notes, f"INTERIM: {min(seeds)} of {recipe.seeds} seeds; no verdict is read from it"]


def _page(rows: Sequence[Mapping[str, Any]], head: Sequence[str]) -> str:
    shown = pd.DataFrame([_shown(row) for row in rows], columns=[*HEADINGS]).rename(columns=HEADINGS)
    table = markdown_table(shown)
    return "\n".join(["# What this run decides", "", *(f"- {line}" for line in head), "", table]) + "\n"


def difference_text(row: Mapping[str, Any]) -> str:
    """The difference of a row, a fraction, in points with its interval: ``+8.8 [+4.1, +13.4]``."""
    value, low, high = (100 * row[name] for name in ("difference", "low", "high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def rates_text(row: Mapping[str, Any]) -> str:
    """The two success rates of a row, fractions, in percent."""
    return f"{100 * row['method_rate']:.1f} against {100 * row['reference_rate']:.1f}"


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        **{"name": row["name"], "method": row["method"], "reference": row["reference"]},
        "rates": rates_text(row),
        "difference": difference_text(row),
        "p": f"{row['p']:.2g}",
        "p_holm": "" if row["p_holm"] is None else f"{row['p_holm']:.2g}",
        "detectable": "" if row["detectable"] is None else f"{100 * row['detectable']:.1f}",
        "asked": "" if row["asked"] is None else f"{100 * row['asked']:g}",
        "verdict": row["verdict"],
    }
