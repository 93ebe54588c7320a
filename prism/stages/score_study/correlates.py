"""Section 4.2's question: what else do the scores go together with?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from prism.core.associations import correlations, distinct_factors, explained_by_groups, share_in_upper_half
from prism.core.results import Results
from prism.gradients.norm_files import open_norms
from prism.stages.score_study.frames import (
    INTERVALS,
    METRIC_NAMES,
    METRICS,
    Place,
    Study,
    bounds,
    by_benchmark,
    interval_text,
    pivot,
    read_facts,
    read_pass_rates,
    read_scores,
    varies,
)

COLUMNS = ("benchmark", "backbone", "score", "factor", "measure", "value", "value_low", "value_high", "trajectories")
LOSS, TOKENS, L2, STEPS, ROWS, PASS_RATE = "loss", "response tokens", "L2 norm", "steps", "rows", "pass rate"
SPEARMAN, PARTIAL, EXPLAINED, RL_SHARE = "spearman", "partial", "explained", "rl_share"
MEASURES = {
    SPEARMAN: "rho",
    PARTIAL: "rho given the other factors",
    EXPLAINED: "% of the ranks' variance",
    RL_SHARE: "% of the type in the RL half",
}
NOTES = [
    "spearman: rank correlation of score and factor; partial: the same given all the other factors of the same "
    "benchmark and backbone; explained: percent of the variance of the score's ranks that lies between task types, "
    "less what chance puts there (epsilon squared, no interval); rl_share: percent of a task type's trajectories that "
    "the median split sends to RL (50 where the type does not matter)",
    INTERVALS,
]


def study(scores: Sequence[Path], norms: Sequence[Path], facts: Sequence[Path], pass_rates: Sequence[Path]) -> Study:
    """Rank correlations of each score with each factor, and each task type's share of the RL half.

    Args:
        scores: score tables.
        norms: shards of norms; only their number of rows is read.
        facts: counts of the corpora.
        pass_rates: of those (benchmark, backbone) for which they were counted.
    """
    shards, counted, corpora = Results.by_place(norms), Results.by_place(pass_rates), by_benchmark(facts)
    rows, left_out = [], []
    for place, (path,) in Results.by_place(scores).items():
        table = read_scores(path)
        ids = list(table.index)
        described = read_facts(corpora[place[0]], ids)
        factors = _factors(table, described, _row_counts(shards[place]).loc[ids].to_numpy())
        if place in counted:
            factors[PASS_RATE] = read_pass_rates(counted[place][0], ids)["pass_rate"].to_numpy(float)
        kept, dropped = distinct_factors(factors)
        if place not in counted:
            dropped[PASS_RATE] = "was not counted in this run"
        left_out += [f"left out, {'/'.join(place)}: {name} {why}" for name, why in dropped.items()]
        for metric in METRICS:
            score = table[metric].to_numpy(float)
            if not varies(score):
                left_out.append(f"left out, {'/'.join(place)}: {metric} is the same for every trajectory")
                continue
            chosen = {name: factors[name] for name in kept}
            rows += _rows(place, metric, score, chosen) + _type_rows(place, metric, score, described["task_type"])
    return Study(COLUMNS, rows, [*NOTES, *left_out], _shown(rows))


def _factors(table: pd.DataFrame, described: pd.DataFrame, rows: np.ndarray) -> dict[str, np.ndarray]:
    """What each trajectory is compared by, by name."""
    return {
        LOSS: table["loss"].to_numpy(float),
        TOKENS: table["length"].to_numpy(float),
        L2: table["l2"].to_numpy(float),
        STEPS: described["steps"].to_numpy(float),
        ROWS: rows.astype(float),
    }


def _row_counts(paths: Sequence[Path]) -> pd.Series:
    """Token rows of every trajectory."""
    files = [open_norms(path) for path in paths]
    return pd.concat(
        [pd.Series(file.column("rows"), [name for ids, _ in file.batches() for name in ids]) for file in files]
    )


def _rows(place: Place, metric: str, score: np.ndarray, factors: Mapping[str, np.ndarray]) -> list[list]:
    found = dict(zip(factors, correlations(score, list(factors.values())), strict=True))
    return [
        [*place, metric, name, measure, *bounds(estimate), len(score)]
        for name, pair in found.items()
        for measure, estimate in zip((SPEARMAN, PARTIAL), pair, strict=True)
    ]


def _type_rows(place: Place, metric: str, score: np.ndarray, types: pd.Series) -> list[list]:
    kinds = types.to_numpy()
    if len(set(kinds)) in (1, len(kinds)):
        return []
    explained = [*place, metric, "task type", EXPLAINED, explained_by_groups(score, kinds), "", "", len(score)]
    shares = {name: share_in_upper_half(score, kinds == name) for name in sorted(set(kinds))}
    return [explained] + [
        [*place, metric, f"task type {name}", RL_SHARE, *bounds(share), int((types == name).sum())]
        for name, share in shares.items()
    ]


def _shown(rows: Sequence[Sequence]) -> dict[str, pd.DataFrame]:
    """A section a (benchmark, backbone), a column a score."""
    sections: dict[str, list[dict[str, str]]] = {}
    for benchmark, backbone, metric, factor, measure, value, low, high, _ in rows:
        line = {"factor": factor, "measure": MEASURES[measure], "score": METRIC_NAMES[metric]}
        digits = 2 if measure in (SPEARMAN, PARTIAL) else 0
        line["value"] = f"{value:.0f}" if measure == EXPLAINED else interval_text(value, low, high, digits)
        sections.setdefault(f"{benchmark}, {backbone}", []).append(line)
    return {name: pivot(lines, ("factor", "measure"), "score", "value") for name, lines in sections.items()}
