"""Figure 5: how far the three metrics agree on the half that goes to RL, and how far they agree on noise.

Gini, kurtosis and CV are three functions of one vector of norms. They agree on much of a half whatever the norms are:
independent log-normal norms already put 56 to 66% of a half into all three. What a run's consensus has to exceed is
therefore the consensus of the same norms with each matrix's column permuted over the trajectories: every matrix keeps
its distribution, and nothing of a trajectory is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prism.core.associations import upper_side
from prism.core.concentration import EPSILON, PAPER_METRICS, SHAPE_METRICS
from prism.core.statistics import CONFIDENCE

METRICS = {name: SHAPE_METRICS[name] for name in PAPER_METRICS}
PERMUTATIONS = 499


@dataclass(frozen=True)
class Consensus:
    """Trajectories that all three metrics place above their median.

    Attributes:
        halves: shape (metrics, trajectories), true above the metric's median.
        null: percent of a half under the null, one value a permutation.
    """

    halves: np.ndarray
    null: np.ndarray

    @property
    def common(self) -> int:
        """Number of trajectories in all halves."""
        return int(self.halves.all(axis=0).sum())

    @property
    def half(self) -> int:
        """Size of the largest half; ties at the median make one smaller."""
        return int(self.halves.sum(axis=1).max())

    @property
    def union(self) -> int:
        """Number of trajectories in any half."""
        return int(self.halves.any(axis=0).sum())

    @property
    def of_half(self) -> float:
        """What is common, in percent of a half."""
        return common_share(self.halves)

    @property
    def of_union(self) -> float:
        """What is common, in percent of the trajectories that any metric places above its median."""
        return 100 * self.common / self.union if self.union else 0.0

    @property
    def p(self) -> float:
        """Share of the null at or above what was seen, which counts as one draw of it: one-sided p value."""
        return float((np.sum(self.null >= self.of_half - 1e-9) + 1) / (len(self.null) + 1))

    @property
    def above_null(self) -> tuple[float, float, float]:
        """Points of a half by which the consensus exceeds the null's median, and its central 95% range."""
        tail = (1 - CONFIDENCE) / 2
        # order statistics, not between them: the lower bound is above 0 exactly where p is at most the tail
        low, middle, high = np.quantile(self.null, (tail, 0.5, 1 - tail), method="closest_observation")
        return self.of_half - float(middle), self.of_half - float(high), self.of_half - float(low)


def measure_consensus(
    norms: np.ndarray, permutations: int = PERMUTATIONS, seed: int = 0, epsilon: float = EPSILON
) -> Consensus:
    """Consensus of the three metrics, and its permutation null.

    The norms of a trajectory are scaled to a geometric mean of 1 first. The metrics ignore that factor, but permuting
    columns that mix trajectories of different size would make vectors more unequal than any that was seen. (An
    arithmetic mean will not do: it ties the norms of a trajectory together, and with 14 matrices noise then exceeds its
    null in 8% of all cases instead of 2.5%.)

    Args:
        norms: (trajectories, N) Frobenius norms.
        permutations: draws of the null.
        seed: of the permutations.
        epsilon: of the metrics, eq. 5-7.
    """
    logs = np.log(norms, out=np.zeros_like(norms, dtype=np.float64), where=norms > 0)
    scaled = norms / np.exp(logs.mean(axis=1, keepdims=True))
    return Consensus(upper_halves(scaled, epsilon), permutation_null(scaled, permutations, seed, epsilon))


def permutation_null(
    norms: np.ndarray, permutations: int = PERMUTATIONS, seed: int = 0, epsilon: float = EPSILON
) -> np.ndarray:
    """Percent of a half that all metrics share when every matrix's column is permuted, the norms taken as they are.

    Args:
        norms: (trajectories, N) Frobenius norms.

    Returns:
        One value a permutation.
    """
    generator = np.random.default_rng(seed)
    permuted = (generator.permuted(norms, axis=0) for _ in range(permutations))
    return np.array([common_share(upper_halves(drawn, epsilon)) for drawn in permuted])


def upper_halves(norms: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Which trajectories each metric places above its median: shape (metrics, trajectories)."""
    return upper_side(np.array([metric(norms, epsilon) for metric in METRICS.values()]))


def common_share(halves: np.ndarray) -> float:
    """Trajectories in all halves, in percent of the largest one; 0 where all are empty.

    Args:
        halves: shape (metrics, trajectories).
    """
    largest = int(halves.sum(axis=1).max())
    return 100 * float(halves.all(axis=0).sum()) / largest if largest else 0.0
