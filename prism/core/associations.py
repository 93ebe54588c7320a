"""How the scores of trajectories go together with other facts of theirs, with intervals over the trajectories.

Everything here is by ranks or by the sides of a median split, as routing is: no score's unit or outlier counts.
Intervals are percentile bootstraps (95%) that draw whole trajectories with replacement; a split is made anew in every
draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import bootstrap, rankdata

from prism.core.statistics import CONFIDENCE, Estimate

RESAMPLES = 1000
METHOD = "bootstrap over trajectories"
# numbers that one block of resamples holds: bounds the memory
_BLOCK = 2_000_000


def estimate(statistic: Callable[..., np.ndarray], columns: Sequence[np.ndarray], seed: int = 0) -> list[Estimate]:
    """A statistic of paired columns with its intervals.

    Args:
        statistic: takes arrays of shape (..., trajectories) and ``axis=-1``, gives shape (values, ...).
        columns: each of shape (trajectories,).
        seed: of the resampling.
    """
    batch = max(1, _BLOCK // (len(columns) * len(columns[0])))
    found = bootstrap(
        columns,
        statistic,
        paired=True,
        vectorized=True,
        axis=-1,
        n_resamples=RESAMPLES,
        batch=batch,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    values = statistic(*columns, axis=-1)
    return [Estimate(*map(float, numbers), METHOD) for numbers in zip(values, found.low, found.high, strict=True)]


def correlations(score: np.ndarray, factors: Sequence[np.ndarray], seed: int = 0) -> list[tuple[Estimate, Estimate]]:
    """Spearman's correlation of a score with each factor, plain and given all the other factors.

    Args:
        score: shape (trajectories,), not constant.
        factors: each of shape (trajectories,), none constant and none the ranks of another (`distinct_factors`).
    """
    found = estimate(_plain_and_partial, [score, *factors], seed)
    return list(zip(found[: len(factors)], found[len(factors) :], strict=True))


def _plain_and_partial(*columns: np.ndarray, axis: int = -1) -> np.ndarray:
    """Correlations of the first column with the others, plain ones first: shape (2 factors, ...)."""
    matrix = rank_correlations(np.stack(columns, axis=-2))
    plain, partial = matrix[..., 0, 1:], partial_correlations(matrix)
    return np.moveaxis(np.concatenate([plain, partial], axis=-1), -1, 0)


def rank_correlations(columns: np.ndarray) -> np.ndarray:
    """Spearman's correlation matrices; a constant column goes together with nothing.

    Args:
        columns: shape (..., columns, trajectories).
    """
    ranks = rankdata(columns, axis=-1)
    centred = ranks - ranks.mean(axis=-1, keepdims=True)
    products = centred @ np.swapaxes(centred, -1, -2)
    sizes = np.sqrt(np.diagonal(products, axis1=-2, axis2=-1))
    scale = sizes[..., :, None] * sizes[..., None, :]
    matrix = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    diagonal = np.arange(columns.shape[-2])
    matrix[..., diagonal, diagonal] = 1
    return np.clip(matrix, -1, 1)


def partial_correlations(matrix: np.ndarray) -> np.ndarray:
    """Correlation of the first column with each other one, given the rest: shape (..., columns - 1).

    Args:
        matrix: correlations, shape (..., columns, columns).
    """
    precision = np.linalg.pinv(matrix, hermitian=True)
    sizes = np.sqrt(np.diagonal(precision, axis1=-2, axis2=-1))
    return np.clip(-precision[..., 0, 1:] / (sizes[..., :1] * sizes[..., 1:]), -1, 1)


def distinct_factors(factors: dict[str, np.ndarray]) -> tuple[list[str], dict[str, str]]:
    """Factors that can be told apart by rank, and why each of the others cannot.

    Args:
        factors: values by name.
    """
    kept: dict[str, np.ndarray] = {}
    left_out = {}
    for name, values in factors.items():
        ranks = rankdata(values)
        same = next((other for other, theirs in kept.items() if np.array_equal(ranks, theirs)), "")
        if np.ptp(ranks) == 0:
            left_out[name] = f"is {values[0]:g} for every trajectory"
        elif same:
            left_out[name] = f"orders the trajectories exactly as {same}"
        else:
            kept[name] = ranks
    return list(kept), left_out


def upper_side(scores: np.ndarray) -> np.ndarray:
    """Which trajectories a median split sends to RL (eq. 3).

    Args:
        scores: shape (..., trajectories).
    """
    return scores > np.median(scores, axis=-1, keepdims=True)


def compare_orders(first: np.ndarray, second: np.ndarray, seed: int = 0) -> tuple[Estimate, Estimate]:
    """Spearman's correlation of two scores, and the percentage of trajectories that a median split parts otherwise.

    Independent scores have 0 and about 50%.
    """
    rho, moved = estimate(_rho_and_moved, [first, second], seed)
    return rho, moved


def _rho_and_moved(first: np.ndarray, second: np.ndarray, axis: int = -1) -> np.ndarray:
    rho = rank_correlations(np.stack([first, second], axis=-2))[..., 0, 1]
    return np.stack([rho, 100 * (upper_side(first) != upper_side(second)).mean(axis=axis)])


def share_in_upper_half(score: np.ndarray, member: np.ndarray, seed: int = 0) -> Estimate:
    """Percentage of the members of a group that the median split of all trajectories sends to RL.

    Args:
        member: whether a trajectory belongs to the group; shape (trajectories,).
    """

    def share(scores: np.ndarray, members: np.ndarray, axis: int = -1) -> np.ndarray:
        both = (upper_side(scores) & (members > 0)).sum(axis=axis)
        size = (members > 0).sum(axis=axis)
        return np.divide(100 * both, size, out=np.full(np.shape(both), 50.0), where=size > 0)[None]

    return estimate(share, [score, member.astype(float)], seed)[0]


def explained_by_groups(score: np.ndarray, groups: np.ndarray) -> float:
    """Percentage of the variance of a score's ranks that lies between groups, less what chance would put there.

    Kelley's epsilon squared: about 0, on either side of it, where the groups do not matter.

    Args:
        groups: the group of each trajectory; shape (trajectories,).
    """
    ranks = rankdata(score)
    names, member = np.unique(groups, return_inverse=True)
    means = np.bincount(member, ranks) / np.bincount(member)
    within, total = np.square(ranks - means[member]).sum(), np.square(ranks - ranks.mean()).sum()
    return float(100 * (1 - within / total * (len(ranks) - 1) / (len(ranks) - len(names))))


def means_by_half(score: np.ndarray, values: np.ndarray, seed: int = 0) -> tuple[Estimate, Estimate, Estimate]:
    """Mean of a quantity in the SFT half and in the RL half of a median split, and RL's minus SFT's."""

    def means(scores: np.ndarray, numbers: np.ndarray, axis: int = -1) -> np.ndarray:
        upper = upper_side(scores)
        sft, rl = (_mean(numbers, side, axis) for side in (~upper, upper))
        return np.stack([sft, rl, rl - sft])

    sft, rl, difference = estimate(means, [score, values], seed)
    return sft, rl, difference


def areas_under_curve(
    scores: Sequence[np.ndarray], labels: np.ndarray, strata: np.ndarray, seed: int = 0
) -> tuple[list[Estimate], list[Estimate]]:
    """How well each score tells labelled trajectories from the others: over all pairs, and over pairs of one stratum.

    The area under the receiver's curve: the probability that the labelled one of a pair has the higher score, ties
    counted as half. All scores are measured on the same draws. A draw without a pair says 0.5.

    Args:
        scores: each of shape (trajectories,).
        labels: 1 or 0; shape (trajectories,).
        strata: whole numbers from 0; shape (trajectories,).
    """
    found = estimate(_areas, [labels, strata, *scores], seed)
    return found[: len(scores)], found[len(scores) :]


def _areas(labels: np.ndarray, strata: np.ndarray, *scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Plain areas, then those within strata: shape (2 scores, ...)."""
    ranks = rankdata(np.stack(scores), axis=-1)
    # all of a stratum rank above all of the one before it
    placed = rankdata(ranks + strata * (strata.shape[-1] + 1), axis=-1)
    plain = _area(ranks, labels, np.zeros_like(strata), axis)
    return np.concatenate([plain, _area(placed, labels, strata, axis)])


def _area(ranks: np.ndarray, labels: np.ndarray, strata: np.ndarray, axis: int) -> np.ndarray:
    """Mann and Whitney's statistic over the number of pairs, both summed over strata."""
    wins, pairs, below = np.zeros(ranks.shape[:-1]), np.zeros(labels.shape[:-1]), np.zeros(labels.shape[:-1])
    for stratum in range(int(strata.max()) + 1):
        member = strata == stratum
        size, found = member.sum(axis=axis), (member * labels).sum(axis=axis)
        wins += (ranks * (member * labels)).sum(axis=axis) - found * (below + (found + 1) / 2)
        pairs, below = pairs + found * (size - found), below + size
    return np.divide(wins, pairs, out=np.full(wins.shape, 0.5), where=pairs > 0)


def tenths(values: np.ndarray) -> np.ndarray:
    """Which tenth of the values each lies in, 0 to 9; equal values lie in one, so that some may be empty."""
    return np.searchsorted(np.quantile(values, np.arange(0.1, 0.95, 0.1)), values, side="right")


def _mean(values: np.ndarray, chosen: np.ndarray, axis: int) -> np.ndarray:
    """Mean over the chosen trajectories; 0 where there is none."""
    size = chosen.sum(axis=axis)
    return np.divide((values * chosen).sum(axis=axis), size, out=np.zeros(np.shape(size)), where=size > 0)
