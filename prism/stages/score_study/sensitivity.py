"""What the routing depends on: the same trajectories scored in two ways, by rank and by side of the median split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from prism.core.associations import compare_orders
from prism.core.concentration import EPSILON, concentration_scores
from prism.core.errors import BadInput
from prism.core.results import Results
from prism.gradients.norm_files import open_norms
from prism.stages.score_study.frames import (
    FEWEST,
    INTERVALS,
    METRIC_NAMES,
    METRICS,
    Place,
    Study,
    bounds,
    interval_text,
    pivot,
    varies,
)

COLUMNS = (
    *("aspect", "benchmark", "backbone", "score", "first", "second"),
    *("spearman", "spearman_low", "spearman_high", "moved_percent", "moved_low", "moved_high", "trajectories"),
)
NORMALISATION, BACKBONE = "normalisation", "backbone"
NOTES = [
    "spearman: rank correlation of the score in the two ways; moved_percent: trajectories that a median split sends to "
    "the other side (0: none; 50: what two unrelated scores give)",
    "normalisation: norms against norms / sqrt(parameter count), appendix G; the paper says rho > 0.99",
    "a variant that was probed on a part of the trajectories is compared on that part, with the part's own median",
    INTERVALS,
]


@dataclass(frozen=True)
class Compared:
    """Two ways of scoring the same trajectories.

    Attributes:
        first, second: what they are called.
        scores: two tables by id, with a column a metric.
    """

    aspect: str
    place: Place
    first: str
    second: str
    scores: tuple[pd.DataFrame, pd.DataFrame]


def study(
    norms: Sequence[Path],
    variants: Sequence[Path],
    changes: Mapping[str, Mapping[str, list[str]]],
    epsilon: float = EPSILON,
) -> Study:
    """Rank correlation and share of trajectories that change sides, for every pair of ways.

    Args:
        norms: shards of the probe that the run routes by.
        variants: shards of its variants, ``.../{variant}/{benchmark}/{backbone}/{shard}.parquet``.
        changes: what each variant changes on each benchmark: aspect, first, second.
        epsilon: of the scores.
    """
    tables = {place: score_shards(paths, epsilon) for place, paths in Results.by_place(norms).items()}
    probed: dict[tuple[str, Place], list[Path]] = {}
    for path in variants:
        probed.setdefault((Results.variant_of(path), Results.probed(path)), []).append(path)
    pairs = [*_normalised(tables), *_backbones(tables)]
    for (variant, place), paths in probed.items():
        aspect, first, second = changes[variant][place[0]]
        pairs.append(Compared(aspect, place, first, second, (tables[place], score_shards(paths, epsilon))))
    rows, notes = [], []
    for pair in pairs:
        for metric in METRICS:
            row = _compare(pair, metric)
            if row:
                rows.append(row)
            else:
                notes.append(f"left out, {pair.aspect}, {'/'.join(pair.place)}: {metric} does not vary")
    present = {pair.aspect for pair in pairs}
    return Study(COLUMNS, rows, [*NOTES, *notes, *_absent(present)], _shown(rows))


def score_shards(paths: Sequence[Path], epsilon: float = EPSILON) -> pd.DataFrame:
    """Scores of the shards at hand, which may be a part of the corpus, by id."""
    parts = []
    for file in map(open_norms, paths):
        counts = np.array(file.parameter_counts, dtype=float)
        parts += [
            pd.DataFrame(concentration_scores(norms, counts, epsilon), index=ids) for ids, norms in file.batches()
        ]
    if not parts:
        raise BadInput(paths[0], "holds no trajectory", "probe at least one")
    return pd.concat(parts).sort_index()


def _normalised(tables: Mapping[Place, pd.DataFrame]) -> Iterator[Compared]:
    for place, table in tables.items():
        divided = pd.DataFrame({metric: table[f"{metric}_normalised"] for metric in METRICS})
        yield Compared(NORMALISATION, place, "norms", "norms / sqrt(parameters)", (table, divided))


def _backbones(tables: Mapping[Place, pd.DataFrame]) -> Iterator[Compared]:
    """Every two backbones on the same benchmark; the first one stands as the backbone of the row."""
    for (place, table), (other, others) in combinations(tables.items(), 2):
        if place[0] == other[0]:
            yield Compared(BACKBONE, place, place[1], other[1], (table, others))


def _compare(pair: Compared, metric: str) -> list | None:
    """A row; None where a score does not vary."""
    first, second = pair.scores
    ids = first.index.intersection(second.index)
    if len(ids) < FEWEST:
        problem = f"{pair.aspect}: {len(ids)} trajectories in common"
        raise BadInput("/".join(pair.place), problem, f"probe at least {FEWEST} in both ways")
    values = [table.loc[ids, metric].to_numpy(float) for table in (first, second)]
    if not all(map(varies, values)):
        return None
    rho, moved = compare_orders(*values)
    return [pair.aspect, *pair.place, metric, pair.first, pair.second, *bounds(rho), *bounds(moved), len(ids)]


def _absent(present: set[str]) -> list[str]:
    """Aspects that a reader expects and this run has not probed."""
    expected = ("layout", "loss_on", "dtype", "prompt", "model", BACKBONE)
    return [
        f"left out: {aspect} was not probed in two ways in this run" for aspect in expected if aspect not in present
    ]


def _shown(rows: Sequence[Sequence]) -> dict[str, pd.DataFrame]:
    """A section a benchmark, a column a score: correlation, and percent that change sides."""
    sections: dict[str, list[dict[str, str]]] = {}
    for aspect, benchmark, backbone, metric, first, second, *numbers, count in rows:
        rho, moved = numbers[:3], numbers[3:]
        line = {"aspect": aspect, "backbone": backbone, "first": first, "second": second, "n": str(count)}
        line["score"] = METRIC_NAMES[metric]
        line["value"] = f"{interval_text(*rho, 2)}; {interval_text(*moved, 0)}%"
        sections.setdefault(benchmark, []).append(line)
    index = ("aspect", "backbone", "first", "second", "n")
    return {
        f"{name}: rho; percent that change sides": pivot(lines, index, "score", "value")
        for name, lines in sections.items()
    }
