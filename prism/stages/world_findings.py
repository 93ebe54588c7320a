"""The second half of the page of findings: what routing does in the small world, read off a run's tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prism.core.csv_files import read_frame
from prism.core.results import Results
from prism.stages.audit.paper import read_claims
from prism.stages.comparison import by_cell
from prism.stages.comparison.estimators import ComparisonRecipe, Run, assess
from prism.stages.comparison.outcomes import NOT_BUILT, Estimate
from prism.stages.decision import INTERIM, difference_text, rates_text
from prism.stages.markdown import markdown_table
from prism.stages.score_study.detection import AUC, IN_LENGTH, MEASURES
from prism.stages.score_study.frames import METRIC_NAMES, interval_text
from prism.stages.score_words import interval, relations
from prism.stages.tables.notes import scale_note

WHERE_TO_LOOK = {"seen": "seen games", "unseen": "unseen games"}
# what a score of the detection table is called
SCORE_NAMES = {
    **METRIC_NAMES,
    **{f"{metric}_normalised": f"{name}, norms / sqrt(parameters)" for metric, name in METRIC_NAMES.items()},
    "l2": "L2 norm",
    "effective_rank": "effective rank of the norms",
    "length": "response tokens",
    "pass_rate": "pass rate",
}


@dataclass(frozen=True)
class World:
    """Finished runs of the scale that decides, whole or in part.

    Attributes:
        main: folder with Table 1 and the decision.
        control: folder of the positive control, with its decision and ``detection``.
        scale: of both.
    """

    main: Path
    control: Path
    scale: str


def world_page(world: World, paper: str | Path) -> dict[str, Any]:
    """Values of the page's template.

    Args:
        paper: folder of the paper's claims.

    Raises:
        BadInput: a table is missing.
    """
    main, control = Results(world.main), Results(world.control)
    _, table = read_frame(main.table("table1"))
    decided, checked = (_decisions(run) for run in (main, control))
    questions = decided[decided["kind"] == "question"]
    _, correlates = read_frame(main.table("score_correlates"))
    detection = read_frame(control.table("detection"))[1]
    return {
        "note": scale_note(world.scale),
        "seeds": int(table["seeds"].max()),
        "control_seeds": int(checked["seeds"].max()),
        "interim": bool((decided["verdict"] == INTERIM).any() or (checked["verdict"] == INTERIM).any()),
        "table1": markdown_table(_success(table)),
        "questions": markdown_table(_tests(questions)) if len(questions) else "",
        "checks": markdown_table(_tests(pd.concat([decided[decided["kind"] == "check"], checked]))),
        "sentences": list(_sentences(pd.concat([decided, checked]))),
        "relations": list(relations(correlates)),
        "routed": markdown_table(_routed(correlates)),
        "detection": markdown_table(_detection(detection)),
        "found": list(_found(detection)),
        "claims": markdown_table(_claims(main, set(table["method"]), paper, world.scale)),
    }


def _decisions(run: Results) -> pd.DataFrame:
    return read_frame(run.table("decision"), texts=("name", "verdict"))[1]


def _success(table: pd.DataFrame) -> pd.DataFrame:
    """A row a method: success on all tasks of each panel."""
    rows: dict[str, list[str]] = {}
    for _, row in table.iterrows():
        rows.setdefault(row["method"], []).append(interval_text(row["all"], row["all_low"], row["all_high"], 1))
    panels = [WHERE_TO_LOOK[name] for name in dict.fromkeys(table["split"])]
    shares = {row["method"]: (row["sft"], row["rl"]) for _, row in table.iterrows()}
    lines = [[method, *map(str, shares[method]), *texts] for method, texts in rows.items()]
    return pd.DataFrame(lines, columns=["method", "SFT %", "RL %", *panels])


def _tests(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a question or check; a column that says nothing of any of them is left out."""
    shown = pd.DataFrame([_test(row) for _, row in rows.iterrows()])
    return shown.loc[:, (shown != "").any()]


def _test(row: pd.Series) -> dict[str, str]:
    return {
        "": row["name"],
        "difference": f"`{row['method']}` - `{row['reference']}`",
        "success, %": rates_text(row),
        "points [95%]": difference_text(row),
        "asked": "" if pd.isna(row["asked"]) else f"{100 * row['asked']:g}",
        "p": f"{row['p']:.2g}",
        "p (Holm)": "" if pd.isna(row["p_holm"]) else f"{row['p_holm']:.2g}",
        "detectable, points": "-" if pd.isna(row["detectable"]) else f"{100 * row['detectable']:.1f}",
        "verdict": row["verdict"],
    }


def _sentences(rows: pd.DataFrame) -> Iterator[str]:
    """A sentence a question and check; with fewer seeds than the protocol's, of what was seen so far."""
    for _, row in rows.iterrows():
        seen = f"{row['name']} (`{row['method']}` and `{row['reference']}`): {difference_text(row)} points"
        if row["verdict"] == INTERIM:
            yield f"{seen} so far, {_beside_zero(row)}."
            continue
        asked = f"; {100 * row['asked']:g} were asked" if row["asked"] > 0 else ""
        known = pd.notna(row["detectable"])
        power = f"; the test finds {100 * row['detectable']:.1f} points with power 0.8" if known else ""
        yield f"{seen}, {_beside_zero(row)}{asked}: **{row['verdict']}**{power}."


def _beside_zero(row: pd.Series) -> str:
    if row["low"] <= 0 <= row["high"]:
        return "which cannot be told from none"
    return "more than none" if row["low"] > 0 else "less than none"


def _routed(table: pd.DataFrame) -> pd.DataFrame:
    """A row a task type: percent of its trajectories that each score's median split sends to RL."""
    shares = table[table["measure"] == "rl_share"]
    known = [metric for metric in METRIC_NAMES if metric in set(shares["score"])]
    found = shares.set_index(["factor", "score"])
    lines = [
        [factor.removeprefix("task type "), *(interval(found.loc[(factor, metric)], "value", 0) for metric in known)]
        for factor in dict.fromkeys(shares["factor"])
    ]
    return pd.DataFrame(lines, columns=["task type", *(METRIC_NAMES[metric] for metric in known)])


def _detection(table: pd.DataFrame) -> pd.DataFrame:
    """A row a score: area under the curve over all pairs, and over pairs of about equal length."""
    lines = []
    for score in dict.fromkeys(table["score"]):
        block = table[table["score"] == score].set_index("measure")
        areas = [interval(block.loc[measure], "value", 2) for measure in MEASURES]
        lines.append([SCORE_NAMES.get(score, score), *areas])
    return pd.DataFrame(lines, columns=["score", *MEASURES.values()])


def _found(table: pd.DataFrame) -> Iterator[str]:
    """A sentence a metric: whether it finds the detours, and whether it does beyond their length."""
    for metric, name in METRIC_NAMES.items():
        rows = table[table["score"] == metric].set_index("measure")
        if rows.empty:
            continue
        yield f"{name} {_finds(rows.loc[AUC])}; at equal length it {_finds(rows.loc[IN_LENGTH])}."


def _finds(row: pd.Series) -> str:
    area = interval(row, "value", 2)
    if row["value_low"] <= 0.5 <= row["value_high"]:
        return f"does not find the detours ({area})"
    return f"{'ranks them high' if row['value'] > 0.5 else 'ranks them low'} ({area})"


def _claims(run: Results, methods: set[str], paper: str | Path, scale: str) -> pd.DataFrame:
    """The paper's statements about Table 1, on its rows: others may lack trainings that are still to come."""
    found = by_cell(run.find("evaluations"))
    evaluations = {cell: paths for cell, paths in found.items() if cell[2] in methods}
    backbones = tuple(dict.fromkeys(backbone for _, backbone, _, _ in evaluations))
    estimated = Run(ComparisonRecipe(scale, ("table1",), {"table1": backbones}), evaluations, {}, {}, {})
    lines = []
    for claim in read_claims(Path(paper) / "claims.yaml"):
        if claim.quantity["table"] != "table1":
            continue
        outcome = assess(claim, estimated)
        here = "was not measured" if outcome.in_this_run == NOT_BUILT else outcome.in_this_run
        shown = "<br>".join(_estimates(outcome.estimates, outcome.missing))
        lines.append([claim.statement, claim.place, shown, here])
    return pd.DataFrame(lines, columns=["the paper says", "where", "here, points [95%]", "here it"])


def _estimates(estimates: Sequence[Estimate], missing: Sequence[str]) -> list[str]:
    shown = [f"{one.label}: {interval_text(one.value, one.low, one.high, 1)}" for one in estimates]
    return [*shown, *(f"{name}: not run" for name in missing)]
