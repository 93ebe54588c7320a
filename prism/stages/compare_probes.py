"""Two probes of the same trajectories: how far their scores agree, and which trajectories change sides between them.

Another layout, dtype or backbone, or another checkpoint of the same backbone: what differs is read from the files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prism.core.associations import compare_orders, upper_side
from prism.core.concentration import EPSILON
from prism.core.csv_files import write_table
from prism.core.errors import BadInput
from prism.core.splits import RL, SFT
from prism.gradients.norm_files import NormFile, open_norms
from prism.stages.scores import score_probe

FEWEST = 4
COLUMNS = ("score", "spearman", "spearman_low", "spearman_high", "rerouted_percent", "rerouted_low", "rerouted_high")
# metadata that says how a probe was cut into parts or named, not what it measured
LEFT_OUT = ("chats", "data_sha256", "model", "model_sha256", "parameter_counts", "prompt_format", "shard", "shards")
_SETTING = re.compile(r"(\w+)=('[^']*'|[^,()]+)")
HASH_LETTERS, TEXT_LETTERS = 12, 60
# value, low, high
INTERVALS = ("{:6.3f} [{:.3f}, {:.3f}]", "{:5.1f} [{:.1f}, {:.1f}]")


@dataclass(frozen=True)
class Comparison:
    """Two probes, first and second.

    Attributes:
        differences: what the files say of themselves and where they disagree, as (what, first, second).
        counts: trajectories of the first probe, of the second, and of both; the both are compared.
        agreement: a row a score, with `COLUMNS`: Spearman's correlation, and percent of the trajectories that the
            median split sends to the other side, both with 95% intervals (bootstrap over trajectories).
        constant: scores that are the same for all trajectories of a probe, which no rank tells apart.
        first: the other scores in the first probe, by id; `second` has the same rows and columns.
    """

    differences: tuple[tuple[str, str, str], ...]
    counts: tuple[int, int, int]
    agreement: pd.DataFrame
    constant: tuple[str, ...]
    first: pd.DataFrame
    second: pd.DataFrame


def compare_probes(norms: Sequence[str | Path], epsilon: float = EPSILON) -> Comparison:
    """Compare two probes by the trajectories that both hold.

    Args:
        norms: files of `prism probe`: all shards of the first probe, then all of the second.
        epsilon: of the scores.

    Raises:
        BadInput: they are not the files of two whole probes, or these have fewer than four trajectories in common.
    """
    probes = _two_probes([open_norms(path) for path in norms])
    tables = [_by_id(files, epsilon) for files in probes]
    sizes = [len(table) for table in tables]
    common = tables[0].index.intersection(tables[1].index)
    (one, *_), (other, *_) = probes
    if len(common) < FEWEST:
        problem = f"and {one.path} have {len(common)} trajectories in common"
        raise BadInput(other.path, problem, f"probe at least {FEWEST} in both")
    first, second = (table.loc[common] for table in tables)
    constant = [name for name in first if 0 in (np.ptp(first[name].to_numpy()), np.ptp(second[name].to_numpy()))]
    first, second = first.drop(columns=constant), second.drop(columns=constant)
    rows = [(name, *_agreement(first[name].to_numpy(), second[name].to_numpy())) for name in first]
    agreement = pd.DataFrame(rows, columns=list(COLUMNS))
    counts = (*sizes, len(common))
    return Comparison(tuple(_differences(one, other)), counts, agreement, tuple(constant), first, second)


def _two_probes(files: list[NormFile]) -> tuple[list[NormFile], list[NormFile]]:
    if not files:
        raise BadInput("norms", "there are none", "name the files of two probes, the first one's shards first")
    count = int(files[0].facts["shards"])
    first, second = files[:count], files[count:]
    if not second:
        parts = "" if count == 1 else f" It has {count} shards."
        raise BadInput(files[0].path, "is one probe alone", f"name a second one.{parts}")
    return first, second


def _by_id(files: list[NormFile], epsilon: float) -> pd.DataFrame:
    ids, scores = score_probe(files, epsilon)
    return pd.DataFrame(scores, index=pd.Index(ids, name="id"))


def _agreement(first: np.ndarray, second: np.ndarray) -> list[float]:
    return [number for found in compare_orders(first, second) for number in (found.value, found.low, found.high)]


def _differences(first: NormFile, second: NormFile) -> list[tuple[str, str, str]]:
    found = []
    if first.facts["model_sha256"] != second.facts["model_sha256"]:
        matrices = [(file.names, file.parameter_counts) for file in (first, second)]
        what = "weights" if matrices[0] == matrices[1] else "backbone"
        found.append((what, *(_model(file) for file in (first, second))))
    stated = [_stated(file.facts) for file in (first, second)]
    for name in dict.fromkeys([*stated[0], *stated[1]]):
        values = [facts.get(name, "-") for facts in stated]
        if values[0] != values[1]:
            found.append((name, *values))
    return found


def _model(file: NormFile) -> str:
    weights = sum(file.parameter_counts)
    size = f"{len(file.names)} matrices, {weights:,} weights"
    return f"{file.facts['model']} ({size}, sha256 {file.facts['model_sha256'][:HASH_LETTERS]})"


def _stated(facts: Mapping[str, str]) -> dict[str, str]:
    """What a file says of how it was made: settings of the prompt one by one, hashes shortened."""
    settings = {name: value.strip("'") for name, value in _SETTING.findall(facts.get("prompt_format", ""))}
    # how chats were rendered: template, variables, date
    settings |= {f"chat {name}": str(value) for name, value in json.loads(facts.get("chats", "{}")).items()}
    others = {name: value for name, value in facts.items() if name not in LEFT_OUT}
    others["data"] = f"{facts['data']} (sha256 {facts['data_sha256'][:HASH_LETTERS]})"
    return {
        name: value[:HASH_LETTERS] if name.endswith("sha256") else _shortened(value)
        for name, value in (settings | others).items()
    }


def _shortened(value: str) -> str:
    """A long text, such as a chat template, by its beginning and its length."""
    text = " ".join(value.split())
    return text if len(text) <= 2 * TEXT_LETTERS else f"{text[:TEXT_LETTERS]}... ({len(value)} letters)"


def describe(found: Comparison) -> str:
    """A few lines and a table for people."""
    first, second, common = found.counts
    lines = [f"{common} trajectories compared, of {first} in the first probe and {second} in the second"]
    lines += [f"{what}: {one} -> {other}" for what, one, other in found.differences] or ["the files name no difference"]
    lines += ["", f"{'score':<20}  {'Spearman [95%]':<23}  re-routed by a median split, % [95%]"]
    for name, *numbers in found.agreement.values.tolist():
        rho, moved = (
            interval.format(*part) for interval, part in zip(INTERVALS, (numbers[:3], numbers[3:]), strict=True)
        )
        lines.append(f"{name:<20}  {rho:<23}  {moved}")
    lines += [f"{name:<20}  the same for all trajectories" for name in found.constant]
    return "\n".join(lines)


def write_comparison(found: Comparison, out_csv: str | Path, note: str = "") -> None:
    """Write what agrees as CSV, a row a score; what differs between the probes stands in the head."""
    first, second, common = found.counts
    head = [
        f"two probes of the same trajectories.{f' {note}' if note else ''}",
        f"trajectories: {first} in the first, {second} in the second, {common} compared",
        "spearman: rank correlation of the score in the two probes; rerouted_percent: trajectories that the median "
        "split sends to the other side (0: none; 50: unrelated scores); 95% intervals, bootstrap over trajectories",
        *(f"differs: {what}: {one} -> {other}" for what, one, other in found.differences),
        *([f"the same for all trajectories, left out: {', '.join(found.constant)}"] if found.constant else []),
    ]
    rows = [[name, *(f"{number:.4g}" for number in numbers)] for name, *numbers in found.agreement.values.tolist()]
    write_table(out_csv, head, COLUMNS, rows)


def write_sides(found: Comparison, score: str, out_csv: str | Path, note: str = "") -> None:
    """Write every trajectory's score and side in both probes: those that change sides first, the largest moves first.

    Raises:
        BadInput: there is no such score, or it is the same for all.
    """
    if score not in found.first:
        raise BadInput("score", f"{score!r} cannot be compared", f"use {', '.join(found.first)}")
    table = pd.DataFrame({"first": found.first[score], "second": found.second[score]})
    ranks = table.rank()
    sides = pd.DataFrame({name: np.where(upper_side(table[name].to_numpy()), RL, SFT) for name in table}, table.index)
    moved = sides["first"] != sides["second"]
    distance = (ranks["second"] - ranks["first"]).abs()
    table = table.join(ranks.add_prefix("rank_")).join(sides.add_prefix("side_"))
    table["moved"] = np.where(moved, "yes", "no")
    order = pd.DataFrame({"moved": moved, "distance": distance}).sort_values(
        ["moved", "distance"], ascending=False, kind="stable"
    )
    count, to_rl = int(moved.sum()), int((moved & (sides["second"] == RL)).sum())
    head = [
        f"{score} in two probes, a trajectory a row.{f' {note}' if note else ''}",
        f"{count} of {len(table)} change sides: {to_rl} from sft to rl, {count - to_rl} from rl to sft",
        "ranks: 1 is the lowest score",
    ]
    write_table(out_csv, head, ["id", *table.columns], table.loc[order.index].reset_index().values.tolist())
