"""How far two runs of the same experiment agree: equal, within rounding, within what sampling alone gives, or not.

Floating-point sums depend on the instruction set and on the number of threads. Norms then differ in their last digits,
a training that starts with them drifts away step by step, and its model plays other episodes with the same rate of
success. So each kind of result is compared by what an honest rerun preserves of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.stats import spearmanr

# of the largest norm of a trajectory; two CPUs were 5e-6 apart
NORM_TOLERANCE = 1e-4
RANK_TOLERANCE = 0.999
# share of trajectories whose side may change: those at the median, whose scores are nearly equal
SIDES_TOLERANCE = 0.02
# mean difference of two loss curves in their second half, as a share of the loss: in the demo other seeds moved it by
# 0.004 and 0.019; a learning rate of half, one and a half times and twice the size by 0.074 to 0.088
LOSS_TOLERANCE = 0.05


class Agreement(StrEnum):
    """How far a result agrees with the recorded one; from best to worst."""

    equal = "equal"
    tolerance = "within tolerance"
    noise = "within sampling noise"
    differs = "differs"


@dataclass(frozen=True)
class Compared:
    """One comparison: the agreement, a number that it rests on, and what that number is."""

    agreement: Agreement
    value: float
    what: str


def same_norms(mine: np.ndarray, recorded: np.ndarray) -> Compared:
    """Gradient norms, shape (trajectories, matrices), by the largest difference over a trajectory's largest norm."""
    if mine.shape != recorded.shape:
        return Compared(Agreement.differs, float("inf"), f"shape {mine.shape} in place of {recorded.shape}")
    scale = np.maximum(recorded.max(axis=1, keepdims=True), np.finfo(float).tiny)
    error = float((np.abs(mine - recorded) / scale).max())
    return _within(error, NORM_TOLERANCE, "largest relative error")


def same_ranks(mine: np.ndarray, recorded: np.ndarray) -> Compared:
    """Scores of the same trajectories, by their rank correlation."""
    if np.array_equal(mine, recorded):
        return Compared(Agreement.equal, 1.0, "rank correlation")
    rho = float(spearmanr(mine, recorded).statistic)
    agrees = rho >= RANK_TOLERANCE
    return Compared(Agreement.tolerance if agrees else Agreement.differs, rho, "rank correlation")


def same_sides(mine: dict[str, str], recorded: dict[str, str]) -> Compared:
    """Splits, regime by id, by the share of trajectories on another side."""
    if mine.keys() != recorded.keys():
        return Compared(Agreement.differs, 1.0, "share on another side: other trajectories")
    changed = sum(mine[name] != recorded[name] for name in recorded) / len(recorded)
    return _within(changed, SIDES_TOLERANCE, "share on another side")


def same_losses(mine: np.ndarray, recorded: np.ndarray) -> Compared:
    """Loss curves of two trainings, logged at the same steps, by the mean difference over their second half.

    Rounding and another order of the rows move single values up and down; another learning rate or another corpus moves
    the whole curve.
    """
    if mine.shape != recorded.shape:
        return Compared(Agreement.differs, float("inf"), f"{len(mine)} logged losses in place of {len(recorded)}")
    if np.array_equal(mine, recorded):
        return Compared(Agreement.equal, 0.0, "difference of the loss")
    half = len(recorded) // 2
    difference = float(abs(np.log(mine[half:] / recorded[half:]).mean()))
    agrees = difference <= LOSS_TOLERANCE
    return Compared(Agreement.noise if agrees else Agreement.differs, difference, "difference of the loss")


def _within(value: float, tolerance: float, what: str) -> Compared:
    if value == 0:
        return Compared(Agreement.equal, value, what)
    return Compared(Agreement.tolerance if value <= tolerance else Agreement.differs, value, what)
