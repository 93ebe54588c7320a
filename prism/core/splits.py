"""Routing by a quantile of a score (eq. 2-3): at or below the threshold to SFT, above it to RL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prism.core.csv_files import read_table
from prism.core.errors import BadInput

SFT, RL = "sft", "rl"
# points that the share of labelled trajectories may differ from what a subset's name says: an expert drops games
LABEL_TOLERANCE = 5
# scores that are drawn anew for every seed: uniform numbers, and these within bins of equal length
RANDOM, RANDOM_IN_LENGTH = DRAWN = ("random", "random_in_length")


@dataclass(frozen=True)
class Split:
    """Two disjoint subsets of a corpus.

    Attributes:
        threshold: the quantile; scores equal to it go to SFT.
        regimes: ``sft`` or ``rl``, in the order of the scores.
        ties: number of scores equal to the threshold.
    """

    threshold: float
    regimes: tuple[str, ...]
    ties: int

    def count(self, regime: str) -> int:
        """Trajectories of one regime."""
        return self.regimes.count(regime)


def split_by_quantile(scores: Sequence[float], rl_percent: float) -> Split:
    """Split at the quantile ``1 - rl_percent / 100``; 50 is the paper's median split.

    The quantile is numpy's default (linear interpolation between the two nearest order statistics), which is the usual
    median at 50. The comparison is eq. 2-3 to the letter, so that ties enlarge the SFT side.

    Raises:
        BadInput: there is no score, or the share is not between 0 and 100.
    """
    if not 0 < rl_percent < 100:
        raise BadInput("rl share", f"{rl_percent} percent leaves one side empty", "choose a share between 0 and 100")
    if not len(scores):
        raise BadInput("scores", "there are none", "score at least one trajectory")
    values = np.asarray(scores, dtype=np.float64)
    threshold = np.quantile(values, 1 - rl_percent / 100)
    regimes = tuple(np.where(values > threshold, RL, SFT).tolist())
    return Split(float(threshold), regimes, int((values == threshold).sum()))


def split_by_label(labels: Sequence[float], rl_percent: float) -> Split:
    """Send exactly the labelled trajectories to RL, whatever their share.

    Args:
        labels: 1 for those, 0 for the others.
        rl_percent: the share that the subset's name states.

    Raises:
        BadInput: the name is more than `LABEL_TOLERANCE` points off.
    """
    regimes = tuple(RL if label else SFT for label in labels)
    share = 100 * regimes.count(RL) / len(regimes)
    if abs(share - rl_percent) > LABEL_TOLERANCE:
        remedy = f"name the subsets -low{100 - round(share)} and -high{round(share)}"
        raise BadInput("rl share", f"{share:.0f}% of the trajectories have the label, not {rl_percent:g}%", remedy)
    return Split(0.0, regimes, regimes.count(SFT))


def read_split(path: str | Path) -> dict[str, str]:
    """Regime of every trajectory id in a split file.

    Raises:
        BadInput: the file is not a split, or an id comes twice.
    """
    table = read_table(path)
    regimes: dict[str, str] = {}
    first_line = len(table.head) + 2
    rows = zip(table.column("id"), table.column("regime"), strict=True)
    for line, (identifier, regime) in enumerate(rows, first_line):
        if identifier in regimes:
            raise BadInput(f"{path}:{line}", f"routes {identifier!r} twice", "rebuild it")
        if regime not in (SFT, RL):
            raise BadInput(f"{path}:{line}", f"unknown regime {regime!r} of {identifier!r}", "use sft or rl")
        regimes[identifier] = regime
    return regimes


def column_and_variant(score: str) -> tuple[str, str]:
    """A score's column and the variant of the probe that it comes from; empty for the run's own."""
    column, _, variant = score.partition("@")
    return column, variant
