"""The positive control: how well each score finds the trajectories in which the expert wasted steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from prism.core.associations import areas_under_curve, tenths
from prism.core.concentration import score_names
from prism.core.detours import read_detours
from prism.core.errors import BadInput
from prism.core.results import Results
from prism.stages.score_study.frames import (
    Study,
    bounds,
    by_benchmark,
    interval_text,
    pivot,
    read_pass_rates,
    read_scores,
    varies,
)

COLUMNS = (
    *("benchmark", "backbone", "score", "measure", "value", "value_low", "value_high", "detours", "trajectories"),
)
AUC, IN_LENGTH, PASS_RATE = "auc", "auc_in_length", "pass_rate"
MEASURES = {AUC: "AUC", IN_LENGTH: "AUC at equal length"}
NOTES = [
    "auc: probability that a detour has the higher score of a detour and another trajectory, both drawn at random "
    "(0.5: the score does not tell them apart; below: detours have the lower scores)",
    "auc_in_length: the same over pairs of about equal length, within tenths of the response tokens: detours are "
    "longer, so that a score of length alone finds them",
    "Intervals: 95%, percentile bootstrap over trajectories (1000 draws), the same draws for every score.",
]


def study(scores: Sequence[Path], labels: Sequence[Path], pass_rates: Sequence[Path]) -> Study:
    """Area under the curve of every score, for every (benchmark, backbone).

    Args:
        scores: score tables.
        labels: manifests of the corpora.
        pass_rates: of those (benchmark, backbone) for which they were counted.

    Raises:
        BadInput: a corpus has no labels, lacks a scored trajectory, or all of its trajectories have the same label.
    """
    corpora, counted = by_benchmark(labels), Results.by_place(pass_rates)
    rows, left_out = [], []
    for place, (path,) in Results.by_place(scores).items():
        table = read_scores(path)
        ids = list(table.index)
        detours = _labels(corpora[place[0]], ids)
        known = {name: table[name].to_numpy(float) for name in score_names()}
        if place in counted:
            known[PASS_RATE] = read_pass_rates(counted[place][0], ids)["pass_rate"].to_numpy(float)
        left_out += [f"left out, {'/'.join(place)}: {name} does not vary" for name in known if not varies(known[name])]
        known = {name: values for name, values in known.items() if varies(values)}
        plain, within = areas_under_curve(list(known.values()), detours, tenths(table["length"].to_numpy(float)))
        for name, *found in zip(known, plain, within, strict=True):
            size = [int(detours.sum()), len(ids)]
            rows += [[*place, name, measure, *bounds(one), *size] for measure, one in zip(MEASURES, found, strict=True)]
    return Study(COLUMNS, rows, [*NOTES, *left_out], _shown(rows))


def _labels(path: Path, ids: Sequence[str]) -> np.ndarray:
    """1 for each detour, 0 for the others."""
    known = read_detours(path)
    if missing := [identifier for identifier in ids if identifier not in known]:
        raise BadInput(path, f"trajectory {missing[0]!r} has no label", "rebuild it with its rule")
    detours = np.array([float(known[identifier]) for identifier in ids])
    if not varies(detours):
        raise BadInput(path, "gives every scored trajectory the same label", "make a corpus with more of both kinds")
    return detours


def _shown(rows: Sequence[Sequence]) -> dict[str, pd.DataFrame]:
    """A section a (benchmark, backbone), a row a score."""
    sections: dict[str, list[dict[str, str]]] = {}
    for benchmark, backbone, score, measure, value, low, high, detours, trajectories in rows:
        line = {"score": score, "measure": MEASURES[measure], "value": interval_text(value, low, high, 2)}
        title = f"{benchmark}, {backbone}: {detours} detours among {trajectories} trajectories"
        sections.setdefault(title, []).append(line)
    return {name: pivot(lines, ("score",), "measure", "value") for name, lines in sections.items()}
