"""Gradient norms (parquet shards) to concentration scores (CSV)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from prism.core.concentration import EPSILON, PROBE_COLUMNS, concentration_scores
from prism.core.csv_files import read_table, write_table
from prism.core.errors import BadInput
from prism.core.progress import counted
from prism.core.recipes import setting
from prism.gradients.norm_files import NormFile, open_norms

PASS_RATE = "pass_rate"


@dataclass(frozen=True)
class ScoresRecipe:
    """Settings of the scores."""

    epsilon: float = setting("keeps the denominators of eq. 5-7 away from zero (P: 1e-8)", EPSILON, at_least=0)

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < math.inf:
            raise BadInput("epsilon", f"{self.epsilon!r} is not a small number", "give 0 or more; the paper has 1e-8")


def compute_scores(
    parquets: Sequence[str | Path],
    passrates: str | Path | None,
    out_csv: str | Path,
    recipe: ScoresRecipe,
) -> None:
    """Score every trajectory of a corpus; one line a trajectory, sorted by id.

    Args:
        parquets: all shards of one probe, in any order.
        passrates: CSV with columns ``id`` and ``pass_rate`` (share of solved rollouts), or None.
        out_csv: written with the columns id, `score_names`, pass_rate.

    Raises:
        BadInput: the shards are incomplete, do not belong together, a norm is NaN, infinite or negative (names the
            trajectory), or the pass rates lack a trajectory.
    """
    files = [open_norms(path) for path in parquets]
    ids, columns = score_probe(files, recipe.epsilon)
    if passrates is not None:
        columns[PASS_RATE] = _read_passrates(Path(passrates), ids)
    rows = zip(ids, *(values.tolist() for values in columns.values()), strict=True)
    write_table(out_csv, _head(files[0], len(ids)), ["id", *columns], rows)


def score_probe(files: Sequence[NormFile], epsilon: float = EPSILON) -> tuple[list[str], dict[str, np.ndarray]]:
    """Ids of a probe's trajectories, sorted, and their scores by name, each of shape (trajectories,).

    Args:
        files: all shards of one probe, in any order.

    Raises:
        BadInput: as `compute_scores`.
    """
    _check_same_probe(files)
    ids, scores = _score_files(files, epsilon)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    ids = [ids[index] for index in order]
    _check_unique(ids, files[0])
    return ids, {name: values[order] for name, values in scores.items()}


def _head(file: NormFile, count: int) -> list[str]:
    facts, trajectories = file.facts, counted(count, "trajectory", "trajectories")
    return [
        f"concentration of gradient norms over {len(file.names)} projection matrices, {trajectories}; no unit",
        f"model: {facts['model']} sha256 {facts['model_sha256']}",
        f"data: {facts['data']}",
        f"data_sha256: {facts['data_sha256']}",
        *([f"data_options: {facts['data_options']}"] if "data_options" in facts else []),
        f"probe: {facts['dtype']}, prompt format {facts['prompt_sha256']}",
        # of people's own chats: how they were rendered, so that they can be written as they were probed
        *([f"chats: {facts['chats']}"] if "chats" in facts else []),
    ]


def _check_same_probe(files: Sequence[NormFile]) -> None:
    """All shards of one probe, each once."""
    if not files:
        raise BadInput("scores", "no gradient norms given", "name at least one parquet file of prism probe")
    first = files[0]
    for file in files[1:]:
        for key in ("model_sha256", "data_sha256", "dtype", "prompt_sha256", "shards"):
            if file.facts[key] != first.facts[key]:
                raise BadInput(
                    file.path, f"differs from {first.path} in {key}", "score the shards of one probe together"
                )
    shards, expected = sorted(int(file.facts["shard"]) for file in files), int(first.facts["shards"])
    if shards != list(range(expected)):
        raise BadInput(first.path, f"has shards {shards} of {expected}", "give every shard once")


def _score_files(files: Sequence[NormFile], epsilon: float) -> tuple[list[str], dict[str, np.ndarray]]:
    ids: list[str] = []
    parts: list[dict[str, np.ndarray]] = []
    for file in files:
        counts = np.array(file.parameter_counts, dtype=np.float64)
        for batch_ids, norms in file.batches():
            ids += batch_ids
            parts.append(concentration_scores(norms, counts, epsilon))
    if not ids:
        raise BadInput(files[0].path, "holds no trajectory", "probe at least one")
    scores = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    recorded = {name: np.concatenate([file.column(column) for file in files]) for name, column in PROBE_COLUMNS.items()}
    return ids, scores | recorded


def _check_unique(ids: list[str], file: NormFile) -> None:
    for previous, identifier in pairwise(ids):
        if previous == identifier:
            raise BadInput(file.path, f"trajectory {identifier!r} comes twice", "probe a corpus with unique ids")


def _read_passrates(path: Path, ids: list[str]) -> np.ndarray:
    table = read_table(path)
    rates = dict(zip(table.column("id"), table.numbers(PASS_RATE), strict=True))
    for identifier in ids:
        if identifier not in rates:
            raise BadInput(path, f"has no pass rate for {identifier!r}", "measure the pass rates of this corpus")
        if not 0 <= rates[identifier] <= 1:
            raise BadInput(path, f"pass rate of {identifier!r} is not between 0 and 1", "rebuild it with its rule")
    return np.array([rates[identifier] for identifier in ids])
