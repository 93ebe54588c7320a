"""How far the three metrics agree on a probe, and on its norms without a signal: measured once for all who show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prism.core.consensus import METRICS, Consensus, measure_consensus, permutation_null
from prism.core.errors import BadInput
from prism.core.files import read_json, write_json
from prism.core.progress import say
from prism.gradients.norm_files import read_shards
from prism.stages.scores import ScoresRecipe


@dataclass(frozen=True)
class Measured:
    """The consensus of a probe.

    Attributes:
        consensus: with the null of norms that are scaled to one geometric mean a trajectory.
        raw_null: percent of a half under the null of the norms as they are, one value a permutation.
        matrices: number of norms of a trajectory.
    """

    consensus: Consensus
    raw_null: np.ndarray
    matrices: int

    @property
    def trajectories(self) -> int:
        """Number of trajectories."""
        return self.consensus.halves.shape[1]


def compute_consensus(norms: Sequence[str | Path], recipe: ScoresRecipe, out: str | Path) -> None:
    """Measure the consensus of a probe and both nulls.

    Args:
        norms: all shards of one probe.
        out: JSON, see docs/formats.md.

    Raises:
        BadInput: as `read_shards`.
    """
    matrix = read_shards(norms)
    found = measure_consensus(matrix, epsilon=recipe.epsilon)
    # a letter a trajectory: 1 above the metric's median
    halves = {metric: "".join(map(str, half.astype(int))) for metric, half in zip(METRICS, found.halves, strict=True)}
    raw_null = permutation_null(matrix, epsilon=recipe.epsilon)
    nulls = {"null": found.null.tolist(), "raw_null": raw_null.tolist()}
    write_json(out, {"matrices": matrix.shape[1], "halves": halves, **nulls})
    say(f"consensus: {found.of_half:.1f}% of a half in common, p = {found.p:.2g}")


def read_consensus(path: str | Path) -> Measured:
    """The consensus of a probe from its file.

    Raises:
        BadInput: it is not a file of `compute_consensus`.
    """
    content = read_json(path)
    try:
        halves = np.array([[letter == "1" for letter in content["halves"][metric]] for metric in METRICS])
        null, raw_null = (np.array(content[name], dtype=float) for name in ("null", "raw_null"))
        return Measured(Consensus(halves, null), raw_null, int(content["matrices"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(path, "does not hold the consensus of a probe", "rebuild it with its rule") from error
