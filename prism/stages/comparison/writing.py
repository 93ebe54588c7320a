"""The comparison for spreadsheets (CSV), for people (Markdown) and for machines (JSON)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prism.core.csv_files import write_table
from prism.core.files import sha256_file, write_json, write_text
from prism.stages.audit.paper import Version
from prism.stages.comparison.estimators import ComparisonRecipe
from prism.stages.comparison.outcomes import NOT_BUILT, PAPER_SCALE, Estimate, Outcome
from prism.stages.tables import scale_note

COLUMNS = (
    "claim",
    "statement",
    "place",
    "comparison",
    "estimate",
    "low",
    "high",
    "unit",
    "threshold",
    "paper",
    "in_this_run",
    "verdict",
)
WHAT_THE_SCALE_SHOWS = {
    PAPER_SCALE: "This run is at the paper's scale: its verdicts are about the paper's models and benchmarks.",
    "pretrained": "This run has one pretrained language model of 135 million parameters, whose weights were 4-bit, "
    "beside tiny ones, and generated tasks. It can show what the score measures on that model. It cannot show whether "
    "a claim holds for 8B models on the released tasks, so that no verdict here is more than inconclusive.",
    "gpu": "This run has backbones of one to two billion parameters on the released tasks, smaller batches and fewer "
    "steps. It can show which way a comparison points for these backbones. It cannot show whether a claim holds for 8B "
    "models, so that no verdict here is more than inconclusive.",
    "laptop": "This run has tiny backbones and generated tasks, settings and panels that were fixed before it, and "
    "enough episodes to say whether a claim holds in this world. Its verdicts are about this world and say nothing of "
    "8B models. Each interval stands for itself: which claims the run was made to decide, with correction for several "
    "of them, is in docs/protocol.md and tables/decision.csv.",
    "other": "This run has tiny backbones, generated tasks and few steps. It can show that every number is computed as "
    "described and which way a comparison points for these backbones. It cannot show whether a claim holds for 8B "
    "models, so that no verdict here is more than inconclusive, whatever the interval.",
}
RULE = (
    "An estimate is on one side of the threshold where its whole 95% interval is. A claim holds where all of its "
    "estimates are on the claimed side and none is missing, fails where one is wholly on the other side, and is "
    "unclear otherwise. Supported and not supported are verdicts of runs at the paper's scale only, and the scale that "
    "decides says what holds in its own world; docs/audit.md."
)


def write_csv(path: str | Path, outcomes: Sequence[Outcome], recipe: ComparisonRecipe, version: Version) -> None:
    """One line a comparison."""
    head = [f"Claims of {version.name} beside this run. {scale_note(recipe.scale)}", _what_it_shows(recipe.scale)]
    write_table(path, head, COLUMNS, [line for outcome in outcomes for line in _lines(outcome, recipe)])


def _lines(outcome: Outcome, recipe: ComparisonRecipe) -> list[list]:
    claim = outcome.claim
    shared = [claim.id, claim.statement, claim.place]
    verdict = outcome.verdict(recipe.scale, recipe.decided)
    lines = []
    for estimate in outcome.estimates:
        numbers = [f"{number:.2f}" for number in (estimate.value, estimate.low, estimate.high)]
        published = "" if estimate.published is None else f"{estimate.published:g}"
        shown = [estimate.label, *numbers, estimate.unit, outcome.needed, published]
        lines.append([*shared, *shown, outcome.position(estimate), verdict])
    for label in outcome.missing:
        lines.append([*shared, label, "", "", "", "", outcome.needed, "", NOT_BUILT, verdict])
    return lines or [[*shared, "", "", "", "", "", outcome.needed, "", NOT_BUILT, NOT_BUILT]]


def write_claims(path: str | Path, outcomes: Sequence[Outcome], recipe: ComparisonRecipe, version: Version) -> None:
    """The verdicts as JSON: resources/schemas/claims.json."""
    hashes: dict[Path, str] = {}
    for file in (file for outcome in outcomes for estimate in outcome.estimates for file in estimate.files):
        if file not in hashes:
            hashes[file] = sha256_file(file)
    claims = [_record(outcome, recipe, hashes) for outcome in outcomes]
    paper = {"version": version.name, "url": version.url}
    write_json(path, {"paper": paper, "scale": recipe.scale, "rule": RULE, "claims": claims})


def _record(outcome: Outcome, recipe: ComparisonRecipe, hashes: dict[Path, str]) -> dict[str, Any]:
    claim = outcome.claim
    return {
        "id": claim.id,
        "statement": claim.statement,
        "place": claim.place,
        "quantity": dict(claim.quantity),
        "side": "below" if claim.below else "above",
        "threshold": claim.threshold,
        "estimates": [
            {
                "comparison": estimate.label,
                "value": estimate.value,
                "interval": {"low": estimate.low, "high": estimate.high, "level": 0.95},
                "unit": estimate.unit,
                "paper": estimate.published,
                "in_this_run": outcome.position(estimate),
                "evidence": [{"path": str(file), "sha256": hashes[file]} for file in estimate.files],
            }
            for estimate in outcome.estimates
        ],
        "missing": list(outcome.missing),
        "in_this_run": outcome.in_this_run,
        "verdict": outcome.verdict(recipe.scale, recipe.decided),
    }


def write_markdown(path: str | Path, outcomes: Sequence[Outcome], recipe: ComparisonRecipe, version: Version) -> None:
    """The same for people."""
    lines = [
        "# The paper's claims beside this run",
        "",
        f"**{scale_note(recipe.scale)}.**",
        "",
        f"{_what_it_shows(recipe.scale)} The claims and the paper's numbers are those of {version.name}.",
        "",
        "Estimates are differences of two methods on the same tasks and seeds with their 95% interval, unless another "
        "unit is given. docs/audit.md has the rule behind the verdicts.",
        "",
        "| claim | this run: estimate [95%] | needed | paper | in this run | verdict |",
        "| --- | --- | ---: | ---: | --- | --- |",
    ]
    for outcome in outcomes:
        claim = outcome.claim
        shown = [_estimate_text(estimate) for estimate in outcome.estimates]
        shown += [f"{label}: {NOT_BUILT}" for label in outcome.missing]
        published = ", ".join(f"{number:g}" for number in claim.published) or "figure only"
        cells = [
            f"{claim.statement} ({claim.place})",
            "<br>".join(shown) or "-",
            outcome.needed,
            published,
            outcome.in_this_run,
            f"**{outcome.verdict(recipe.scale, recipe.decided)}**",
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    write_text(path, "\n".join(lines) + "\n")


def _what_it_shows(scale: str) -> str:
    return WHAT_THE_SCALE_SHOWS.get(scale, WHAT_THE_SCALE_SHOWS["other"])


def _estimate_text(estimate: Estimate) -> str:
    digits = 3 if estimate.unit == "rho" else 2 if estimate.unit == "times" else 1
    numbers = [f"{number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high)]
    return f"{estimate.label}: {numbers[0]} [{numbers[1]}, {numbers[2]}] {estimate.unit}"
