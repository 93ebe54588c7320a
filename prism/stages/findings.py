"""The page of findings: what the score measures on a run's largest model, and what routing does in the small world."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prism.core.csv_files import read_frame
from prism.core.errors import BadInput
from prism.core.files import write_text
from prism.core.results import Results
from prism.core.study_tables import STUDY_TABLES
from prism.stages.audit.paper import read_claims, read_version
from prism.stages.comparison.estimators import ComparisonRecipe, Run, assess
from prism.stages.comparison.outcomes import NOT_BUILT, Outcome
from prism.stages.markdown import markdown_table
from prism.stages.page_templates import render_page
from prism.stages.score_study.frames import HALVES, METRIC_NAMES, METRICS, halves_text, interval_text
from prism.stages.score_words import interval, relations, title, type_shares
from prism.stages.tables.notes import scale_note
from prism.stages.world_findings import World, world_page

NEEDED = ("score_correlates", "routing_sensitivity", "consensus", "appendix_b", "appendix_g")
OPTIONAL = ("appendix_f", "memory")
# what is told of each claim's estimates on the page: digits after the point, by unit
DIGITS = {"rho": 2, "times a forward pass": 1}


@dataclass(frozen=True)
class FindingsRecipe:
    """What the page is about.

    Attributes:
        scale: of the run.
        model: the backbone whose findings these are.
    """

    scale: str
    model: str


def write_findings(
    results: str | Path, paper: str | Path, recipe: FindingsRecipe, out: str | Path, world: World | None = None
) -> None:
    """Write the page (Markdown).

    Args:
        results: folder of a run with its tables about the scores, appendix G and norms.
        paper: folder of the paper's claims.
        world: runs of the scale that decides; without them the page has its first half alone.

    Raises:
        BadInput: a table is missing, or has no row of the model.
    """
    run = Results(results)
    paths = {name: run.table(name) for name in (*NEEDED, *OPTIONAL) if name in NEEDED or run.table(name).is_file()}
    frames = {name: _of_model(path, recipe.model) for name, path in paths.items()}
    outcomes = _outcomes(run, paths, paper, recipe.scale)
    page = {
        "model": recipe.model,
        "note": scale_note(recipe.scale),
        "paper": read_version(paper).name,
        "sizes": markdown_table(_sizes(frames["consensus"])),
        "correlations": markdown_table(_correlations(frames["score_correlates"])),
        "relations": list(relations(frames["score_correlates"])),
        "types": list(type_shares(frames["score_correlates"])),
        "dependence": markdown_table(_dependence(frames["routing_sensitivity"])),
        "changes": list(_changes(frames["routing_sensitivity"])),
        "halves": markdown_table(_halves(frames["appendix_b"])),
        "consensus": markdown_table(_consensus(read_frame(paths["consensus"])[1])),
        "memory": markdown_table(_memory(frames["memory"])) if "memory" in frames else "",
        "measured_row": _measured_row(frames["memory"]) if "memory" in frames else "",
        "claims": markdown_table(_claims(outcomes)),
        "world": world_page(world, paper) if world else None,
    }
    write_text(out, render_page("findings.md.jinja", page))


def _of_model(path: Path, model: str) -> pd.DataFrame:
    _, table = read_frame(path)
    if "backbone" not in table:
        raise BadInput(path, "has no column 'backbone'", "rebuild it with its rule")
    found = table[table["backbone"] == model]
    if found.empty:
        raise BadInput(path, f"has no row of {model!r}", "name a backbone of the run")
    return found


def _outcomes(results: Results, paths: dict[str, Path], paper: str | Path, scale: str) -> list[Outcome]:
    """The claims about the scores, estimated as the comparison of a run does."""
    names = ("figure5", *paths)
    probes = (Results.by_place(results.find(kind)) for kind in ("norms", "consensus"))
    run = Run(ComparisonRecipe(scale, names, {}), {}, paths, *probes)
    about_scores = ("figure5", "appendix_g", *STUDY_TABLES)
    claims = read_claims(Path(paper) / "claims.yaml")
    return [assess(claim, run) for claim in claims if claim.quantity["table"] in about_scores]


def _sizes(table: pd.DataFrame) -> pd.DataFrame:
    rows = [[title(row.benchmark), row.trajectories, row.matrices] for row in table.itertuples()]
    return pd.DataFrame(rows, columns=["benchmark", "trajectories", "projection matrices (N)"])


def _correlations(table: pd.DataFrame) -> pd.DataFrame:
    """A row a benchmark and factor: each score's correlation, plain and given the other factors."""
    found = table.set_index(["benchmark", "factor", "score", "measure"])
    shown = table[table["measure"] == "spearman"]
    lines = []
    for benchmark, factor in dict.fromkeys(zip(shown["benchmark"], shown["factor"], strict=True)):
        texts = []
        for metric in METRICS:
            for measure in ("spearman", "partial"):
                key = benchmark, factor, metric, measure
                texts.append(interval(found.loc[key], "value", 2) if key in found.index else "-")
        lines.append([title(benchmark), factor, *texts])
    heads = [f"{METRIC_NAMES[metric]}{part}" for metric in METRICS for part in ("", ", given the others")]
    return pd.DataFrame(lines, columns=["benchmark", "factor", *heads])


def _dependence(table: pd.DataFrame) -> pd.DataFrame:
    """A row a benchmark and choice: correlation and percent that change sides, by score."""
    found = table.set_index(["benchmark", "aspect", "first", "second", "score"])
    keys = dict.fromkeys(zip(*(table[name] for name in ("benchmark", "aspect", "first", "second")), strict=True))
    lines = []
    for key in keys:
        rows = [found.loc[(*key, metric)] if (*key, metric) in found.index else None for metric in METRICS]
        count = next(row["trajectories"] for row in rows if row is not None)
        texts = ["-" if row is None else f"{row['spearman']:.2f}; {_moved(row)}" for row in rows]
        lines.append([title(key[0]), key[1], f"{key[2]} or {key[3]}", str(int(count)), *texts])
    heads = [METRIC_NAMES[metric] for metric in METRICS]
    return pd.DataFrame(lines, columns=["benchmark", "choice", "two ways", "n", *heads])


def _moved(row: pd.Series) -> str:
    return f"{row['moved_percent']:.0f}% [{row['moved_low']:.0f}, {row['moved_high']:.0f}]"


def _changes(table: pd.DataFrame) -> Iterator[str]:
    """A sentence a choice on Gini."""
    for _, row in table[table["score"] == "gini"].iterrows():
        yield (
            f"{title(row['benchmark'])}, {row['aspect']} ({row['first']} or {row['second']}): {_moved(row)} of "
            f"{int(row['trajectories'])} trajectories change sides, {_beside_chance(row)}."
        )


def _beside_chance(row: pd.Series) -> str:
    """Unrelated scores send half of the trajectories to the other side."""
    if row["moved_high"] < 50:
        return "fewer than by chance"
    return "more than by chance" if row["moved_low"] > 50 else "which cannot be told from the 50% of unrelated scores"


def _halves(table: pd.DataFrame) -> pd.DataFrame:
    """A row a benchmark and behaviour: means of both halves and their difference, by score."""
    found = table.set_index(["benchmark", "behaviour", "score"])
    lines = [
        [
            title(key[0]),
            key[1],
            *(halves_text(found.loc[(*key, metric), list(HALVES)].tolist(), 1) for metric in METRICS),
        ]
        for key in dict.fromkeys(zip(table["benchmark"], table["behaviour"], strict=True))
    ]
    return pd.DataFrame(lines, columns=["benchmark", "behaviour", *(METRIC_NAMES[metric] for metric in METRICS)])


def _consensus(table: pd.DataFrame) -> pd.DataFrame:
    lines = [
        [
            *(title(row["benchmark"]), row["backbone"], f"{row['of_half']:.0f}%", f"{row['of_union']:.0f}%"),
            *(f"{row['null']:.0f}% [{row['null_low']:.0f}, {row['null_high']:.0f}]", f"{row['p']:.2g}"),
        ]
        for _, row in table.iterrows()
    ]
    heads = ["benchmark", "backbone", "of a half", "of the union", "of a half, permuted norms", "p, one-sided"]
    return pd.DataFrame(lines, columns=heads)


def _memory(table: pd.DataFrame) -> pd.DataFrame:
    lines = [
        [row["pass"].replace("_", ", "), f"{row['peak_mib']:.0f}", f"{row['times_forward']:.1f}"]
        for _, row in table.iterrows()
    ]
    return pd.DataFrame(lines, columns=["pass", "peak above the weights, MiB", "times forward"])


def _measured_row(table: pd.DataFrame) -> str:
    first = table.iloc[0]
    return f"{first['tokens']} tokens of {title(first['benchmark'])}"


def _claims(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    lines = []
    for outcome in outcomes:
        shown = [_estimate(estimate) for estimate in outcome.estimates]
        here = "was not measured" if outcome.in_this_run == NOT_BUILT else outcome.in_this_run
        lines.append([outcome.claim.statement, outcome.claim.place, outcome.needed, "<br>".join(shown) or "-", here])
    return pd.DataFrame(lines, columns=["the paper says", "where", "needed", "on this model [95%]", "here it"])


def _estimate(estimate: Any) -> str:
    digits = DIGITS.get(estimate.unit, 1)
    return f"{interval_text(estimate.value, estimate.low, estimate.high, digits)} {estimate.unit} ({estimate.label})"
