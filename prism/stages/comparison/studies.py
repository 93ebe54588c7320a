"""Claims about the scores themselves, from the largest model that a run has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from prism.core.csv_files import read_frame
from prism.core.errors import BadInput
from prism.gradients.norm_files import open_norms
from prism.stages.audit.paper import Claim
from prism.stages.comparison.outcomes import Estimate

# models of at least this share of the largest one's weights are of its size
SAME_SIZE = 0.5
# a single measurement without an interval decides nothing that is nearer than this to the threshold
TOLERANCE = 0.05


def model_sizes(norms: Mapping[tuple[str, str], Sequence[Path]]) -> dict[str, int]:
    """Weights of the probed matrices, by backbone."""
    return {backbone: sum(open_norms(paths[0]).parameter_counts) for (_, backbone), paths in norms.items()}


def of_largest_size(backbones: Sequence[str], sizes: Mapping[str, int]) -> list[str]:
    """The backbones that are not much smaller than the largest one; one of unknown size is kept."""
    largest = max((sizes[name] for name in backbones if name in sizes), default=0)
    return [name for name in backbones if sizes.get(name, largest) >= SAME_SIZE * largest]


def size_in_words(backbone: str, sizes: Mapping[str, int]) -> str:
    """``tiny-qwen3 (0.2M weights probed)``."""
    if backbone not in sizes:
        return backbone
    return f"{backbone} ({sizes[backbone] / 1e6:.3g}M weights probed)"


def study_estimates(claim: Claim, path: Path, sizes: Mapping[str, int]) -> list[Estimate]:
    """Rows of a table about the scores that the claim picks, for the largest models in it.

    Args:
        claim: its quantity names ``rows`` (the value of some columns), ``column`` and ``unit``.
        path: the table.
        sizes: weights by backbone.

    Raises:
        BadInput: the table lacks one of these columns.
    """
    quantity = claim.quantity
    _, table = read_frame(path)
    column = quantity["column"]
    for name in ("benchmark", "backbone", column, *quantity["rows"]):
        if name not in table:
            raise BadInput(path, f"has no column {name!r}", "rebuild it with its rule")
    for name, value in quantity["rows"].items():
        table = table[table[name] == value]
    table = table[table["backbone"].isin(of_largest_size(list(table["backbone"]), sizes))]
    estimates = []
    for row in table.to_dict("records"):
        low, high = (float(row.get(f"{column}_{end}", math.nan)) for end in ("low", "high"))
        if math.isnan(low):
            low, high = row[column] * (1 - TOLERANCE), row[column] * (1 + TOLERANCE)
        label = f"{row['benchmark']}, {size_in_words(row['backbone'], sizes)}"
        estimates.append(Estimate(label, float(row[column]), low, high, quantity["unit"], None, (path,)))
    return estimates
